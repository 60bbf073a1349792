"""How the browser's script makes requests, run by Node.js against a server that misbehaves."""

from __future__ import annotations

import http.server
import subprocess
import threading

import pytest

from tests.servers import REPOSITORY

SCRIPT = f"""
import {{ persistentFetch }} from "{REPOSITORY}/app/frontend/src/requests.js";
const answer = await persistentFetch(process.argv[1], {{ method: "POST", headers: {{ "Idempotency-Key": "one" }} }});
console.log(answer.status, await answer.text());
"""


class BreaksOff(http.server.BaseHTTPRequestHandler):
    """Answers completely the second time only."""

    keys: list[str | None]

    def do_POST(self) -> None:
        self.keys.append(self.headers["Idempotency-Key"])
        self.send_response(200)
        self.send_header("Content-Length", "10")
        self.end_headers()
        self.wfile.write(b"half " if len(self.keys) == 1 else b"the whole.")

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def server():
    class Handler(BreaksOff):
        keys = []

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as found:
        threading.Thread(target=found.serve_forever).start()
        yield found
        found.shutdown()


def test_an_answer_that_breaks_off_is_asked_for_again_under_the_same_key(server):
    command = ["node", "--input-type=module", "-e", SCRIPT, f"http://127.0.0.1:{server.server_port}/tasks"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.stdout == "200 the whole.\n", done.stderr
    assert server.RequestHandlerClass.keys == ["one", "one"]
