"""A steady load of reads and writes through nginx, which counts every request that a client saw fail.

    python3 tests/chaos/steady.py .hecto/local/credentials.json --seconds 60 [-- COMMAND ...]

With a COMMAND, the load runs until it has ended (a scale-up, a roll). Prints one JSON object; the exit code is 1 when a
request failed, or a task that was acknowledged is not there at the end. Standard library only.
"""

from __future__ import annotations

import argparse
import http.client
import json
import select
import ssl
import statistics
import subprocess
import sys
import threading
import time
import uuid
from collections import Counter
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

# Longer than nginx tries (10 s of retries, then one wait of 9 s): what takes longer is a failure.
TIMEOUT = 25.0


class Client:
    """One client with one connection, as a careful HTTP client has it."""

    def __init__(self, url: str, context: ssl.SSLContext) -> None:
        parts = urlsplit(url)
        self._address = (parts.hostname or "", parts.port or 443)
        self._context = context
        self._connection: http.client.HTTPSConnection | None = None
        self.headers: dict[str, str] = {}

    def request(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """One request, never repeated. Raises OSError or HTTPException when no whole answer came."""
        connection = self._usable()
        headers = self.headers | ({"Content-Type": "application/json"} if body is not None else {})
        try:
            connection.request(method, path, json.dumps(body) if body is not None else None, headers)
            response = connection.getresponse()
            content = response.read()
        except BaseException:
            connection.close()
            self._connection = None
            raise
        is_json = "json" in (response.headers.get("Content-Type") or "")
        return response.status, json.loads(content) if is_json else content.decode(errors="replace")

    def _usable(self) -> http.client.HTTPSConnection:
        # A reload of nginx ends idle connections. Who looks before sending, as browsers do, sees it and opens another.
        if self._connection and self._connection.sock and select.select([self._connection.sock], [], [], 0)[0]:
            self._connection.close()
            self._connection = None
        if not self._connection:
            self._connection = http.client.HTTPSConnection(*self._address, timeout=TIMEOUT, context=self._context)
        return self._connection


class Load:
    """Clients that mix reads and writes until told to stop, and what they saw."""

    def __init__(self, credentials: dict[str, str], clients: int, pause: float) -> None:
        self._credentials = credentials
        self._context = ssl.create_default_context(cafile=credentials["ca"])
        self._pause = pause
        self._stop = threading.Event()
        self._guard = threading.Lock()
        self._run = uuid.uuid4().hex[:8]
        self._tokens: list[str] = []
        self._threads = [threading.Thread(target=self._work, args=(number,), daemon=True) for number in range(clients)]
        self.statuses: Counter[str] = Counter()
        self.failures: list[str] = []
        self.times: list[tuple[float, float]] = []
        self.acknowledged: set[str] = set()

    def start(self) -> None:
        """Make a user for each client, since each has a limit of its own, then let them all work."""
        self._tokens = [self._sign_in(self._credentials["email"], self._credentials["password"])]
        password = uuid.uuid4().hex
        for number in range(len(self._threads)):
            user = {"email": f"load-{self._run}-{number}@example.com", "name": f"Load {number}", "password": password}
            status, answer = self._client().request("POST", "/api/users", user)
            if status != 201:
                raise SystemExit(f"Cannot create a user for the load: {status} {answer}")
            self._tokens.append(self._sign_in(user["email"], password))
        for thread in self._threads:
            thread.start()

    def _sign_in(self, email: str, password: str) -> str:
        client = Client(self._credentials["url"], self._context)
        status, answer = client.request("POST", "/api/auth/login", {"email": email, "password": password})
        if status != 200:
            raise SystemExit(f"Cannot sign in at {self._credentials['url']}: {status} {answer}. Is the site up?")
        token: str = answer["access_token"]
        return token

    def stop(self) -> None:
        """Let every client finish its request."""
        self._stop.set()
        for thread in self._threads:
            thread.join(TIMEOUT + 5)

    def missing_and_doubled(self) -> tuple[int, int]:
        """Acknowledged tasks that are not in the list at the end, and titles that are there more than once."""
        client, found, after = self._client(), Counter[str](), None
        while True:
            query = {"q": self._run, "limit": "100"} | ({"after": after} if after else {})
            status, page = client.request("GET", f"/api/tasks?{urlencode(query)}")
            if status != 200:
                raise SystemExit(f"Cannot read the tasks back: {status} {page}")
            found.update(task["title"] for task in page["items"])
            after = page["next"]
            if not after:
                return len(self.acknowledged - found.keys()), sum(count - 1 for count in found.values())

    def _client(self, number: int = 0) -> Client:
        """A client of the administrator (0) or of one of the users."""
        client = Client(self._credentials["url"], self._context)
        client.headers["Authorization"] = f"Bearer {self._tokens[number]}"
        return client

    def _work(self, number: int) -> None:
        client = self._client(number + 1)
        turn = 0
        while not self._stop.is_set():
            turn += 1
            if turn % 2:
                self._once(client, "GET", "/api/tasks?limit=20", None, 200)
            else:
                title = f"{self._run} {number}-{turn}"
                if self._once(client, "POST", "/api/tasks", {"title": title}, 201):
                    with self._guard:
                        self.acknowledged.add(title)
            self._stop.wait(self._pause)

    def _once(self, client: Client, method: str, path: str, body: Any, expected: int) -> bool:
        begun = time.time()
        try:
            status, answer = client.request(method, path, body)
            outcome = f"{method} {status}"
        except (OSError, http.client.HTTPException, ValueError) as error:
            status, answer, outcome = 0, repr(error), f"{method} {type(error).__name__}"
        with self._guard:
            self.statuses[outcome] += 1
            self.times.append((begun, time.time() - begun))
            if status != expected:
                self.failures.append(
                    f"{time.strftime('%H:%M:%S', time.localtime(begun))} {outcome}: {str(answer)[:200]}"
                )
        return status == expected


def main() -> int:
    """Run the load, beside a command if there is one, and print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("credentials", type=Path, help="JSON with url, email, password and ca")
    parser.add_argument("--seconds", type=float, default=20, help="how long; with a command, how long at most")
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--pause", type=float, default=0.06, help="seconds a client rests: a user may make 20 a second")
    end = sys.argv.index("--") if "--" in sys.argv else len(sys.argv)
    command = sys.argv[end + 1 :]
    options = parser.parse_args(sys.argv[1:end])
    load = Load(json.loads(options.credentials.read_text()), options.clients, options.pause)
    load.start()
    code, begun = 0, time.time()
    if command:
        time.sleep(1)
        done = subprocess.run(command, stdout=sys.stderr, check=False, timeout=options.seconds)
        code = done.returncode
        time.sleep(1)
    else:
        time.sleep(options.seconds)
    seconds = time.time() - begun
    load.stop()
    missing, doubled = load.missing_and_doubled()
    times = sorted(duration for _, duration in load.times)
    cuts = statistics.quantiles(times, n=100)
    sys.stdout.write(
        json.dumps(
            {
                "seconds": round(seconds, 1),
                "requests": len(times),
                "failed": len(load.failures),
                "missing": missing,
                "doubled": doubled,
                "command_exit_code": code,
                "milliseconds": {
                    "p50": round(cuts[49] * 1e3),
                    "p99": round(cuts[98] * 1e3),
                    "max": round(times[-1] * 1e3),
                },
                "outcomes": dict(load.statuses),
                "failures": load.failures[:20],
            },
            indent=1,
        )
        + "\n"
    )
    return 1 if load.failures or missing or code else 0


if __name__ == "__main__":
    sys.exit(main())
