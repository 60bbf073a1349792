"""A small real process in an instance's place: it listens on the control socket, drains, and can be busy.

Run as an instance is, with HECTO_INSTANCE and HECTO_RUN_DIRECTORY; its release's "behaviour" says what it does wrong.
"""

import http.server
import json
import os
import signal
import socketserver
import sys
import time
from pathlib import Path

NUMBER = int(os.environ["HECTO_INSTANCE"])
SOCKET = Path(os.environ["HECTO_RUN_DIRECTORY"]) / "control" / f"{NUMBER}.sock"
RELEASE = json.loads((Path(sys.argv[1]) / "release.json").read_text())
BEGUN = time.monotonic()
HOLD = SOCKET.with_suffix(".hold")
BEHAVIOUR = RELEASE.get("behaviour", "")
STATE = {"state": "held" if HOLD.exists() else "ready", "in_flight": 0, "websockets": 0, "requests": 0, "errors": 0}


class Handler(http.server.BaseHTTPRequestHandler):
    """The control interface, and POST /test?... to make the instance busy."""

    def do_GET(self) -> None:
        if self.path != "/control/check":
            if BEHAVIOUR == "answers errors" and STATE["state"] == "ready":
                STATE["requests"] += 5
                STATE["errors"] += 1
            self.answer()
        elif BEHAVIOUR == "fails its check":
            self.send(500, {"ok": False, "failed": ["GET /tasks: 500"]})
        elif BEHAVIOUR == "old":
            self.send(404, {})
        else:
            self.send(200, {"ok": True, "failed": []})

    def do_POST(self) -> None:
        if self.path == "/control/drain":
            STATE["state"] = "draining"
            if BEHAVIOUR == "hangs in drain":
                STATE["in_flight"] = 1
        elif self.path == "/control/resume":
            STATE["state"] = "ready"
        else:
            name, value = self.path.removeprefix("/test?").split("=")
            STATE[name] = int(value)
        self.answer()

    def answer(self) -> None:
        body = {
            "instance": f"instance-{NUMBER}",
            "release": RELEASE["id"],
            "uptime": time.monotonic() - BEGUN,
            "pid": os.getpid(),
        } | STATE
        self.send(200, body)

    def send(self, status: int, body: dict[str, object]) -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def address_string(self) -> str:
        return "unix"

    def log_message(self, *_: object) -> None:
        pass


class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    """Answers each request in a thread, as an instance does in a greenlet."""

    daemon_threads = True


def main() -> None:
    if BEHAVIOUR == "ends":
        sys.exit(3)
    if BEHAVIOUR == "never ready":
        STATE["state"] = "starting"
    if BEHAVIOUR == "old":
        STATE["state"] = "ready"
        del STATE["requests"], STATE["errors"]
    SOCKET.unlink(missing_ok=True)
    server = Server(str(SOCKET), Handler)
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    server.serve_forever(poll_interval=0.05)


if __name__ == "__main__":
    main()
