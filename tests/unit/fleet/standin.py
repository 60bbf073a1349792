"""A small real process in an instance's place: it listens on the control socket, is held, drains, and can be busy.

Run as an instance is, with HECTO_INSTANCE and HECTO_RUN_DIRECTORY; its release's "behaviour" says what it does wrong.
"""

import http.server
import json
import os
import signal
import socketserver
import sys
import threading
import time
from pathlib import Path

NUMBER = int(os.environ["HECTO_INSTANCE"])
CONTROL = Path(os.environ["HECTO_RUN_DIRECTORY"]) / "control"
RELEASE = json.loads((Path(sys.argv[1]) / "release.json").read_text())
BEHAVIOUR = RELEASE.get("behaviour", "")
BEGUN = time.monotonic()
STATE = {"state": "ready", "in_flight": 0, "websockets": 0, "requests": 0, "errors": 0}
# A release from before there were holds, checks and counters.
IS_OLD = BEHAVIOUR == "from before"


class Handler(http.server.BaseHTTPRequestHandler):
    """The control interface, and POST /test?... to make the instance busy."""

    def do_GET(self) -> None:
        if self.path != "/control/check":
            self.answer(200, describe())
        elif IS_OLD:
            self.answer(404, None)
        else:
            failed = ["GET /tasks: 500"] if BEHAVIOUR == "check fails" else []
            self.answer(500 if failed else 200, {"ok": not failed, "failed": failed})

    def do_POST(self) -> None:
        if self.path == "/control/drain":
            STATE["state"] = "draining"
            if BEHAVIOUR == "hangs in drain":
                STATE["in_flight"] = 1
        elif self.path == "/control/resume":
            STATE["state"] = "ready"
            serve()
        else:
            name, value = self.path.removeprefix("/test?").split("=")
            STATE[name] = int(value)
        self.answer(200, describe())

    def answer(self, status: int, body: object) -> None:
        content = json.dumps(body).encode() if body else b"<title>Not Found</title>"
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
    request_queue_size = 64


def describe() -> dict[str, object]:
    body = {
        "instance": f"instance-{NUMBER}",
        "release": RELEASE["id"],
        "uptime": time.monotonic() - BEGUN,
        "pid": os.getpid(),
    } | STATE
    if IS_OLD:
        del body["requests"], body["errors"]
    return body


def serve() -> None:
    """Take traffic, a request every 10 ms."""
    if BEHAVIOUR == "ends under traffic":
        threading.Timer(0.4, os._exit, (3,)).start()
    threading.Thread(target=_traffic, daemon=True).start()


def _traffic() -> None:
    while True:
        time.sleep(0.01)
        STATE["requests"] += 1
        STATE["errors"] += BEHAVIOUR == "errors under traffic"


def main() -> None:
    if BEHAVIOUR == "ends":
        sys.exit(3)
    if BEHAVIOUR == "never ready":
        STATE["state"] = "starting"
    elif (CONTROL / f"{NUMBER}.hold").exists() and not IS_OLD:
        STATE["state"] = "held"
    else:
        serve()
    socket = CONTROL / f"{NUMBER}.sock"
    socket.unlink(missing_ok=True)
    server = Server(str(socket), Handler)
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    server.serve_forever(poll_interval=0.05)


if __name__ == "__main__":
    main()
