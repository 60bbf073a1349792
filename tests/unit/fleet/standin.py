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
STATE = {"state": "ready", "in_flight": 0, "websockets": 0}


class Handler(http.server.BaseHTTPRequestHandler):
    """The control interface, and POST /test?... to make the instance busy."""

    def do_GET(self) -> None:
        self.answer()

    def do_POST(self) -> None:
        if self.path == "/control/drain":
            STATE["state"] = "draining"
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
        content = json.dumps(body).encode()
        self.send_response(200)
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
    behaviour = RELEASE.get("behaviour", "")
    if behaviour == "ends":
        sys.exit(3)
    if behaviour == "never ready":
        STATE["state"] = "starting"
    SOCKET.unlink(missing_ok=True)
    server = Server(str(SOCKET), Handler)
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    server.serve_forever(poll_interval=0.05)


if __name__ == "__main__":
    main()
