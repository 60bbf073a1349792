"""A bounded load of many clients on a site, in a process of its own.

    python -m tests.chaos.load CREDENTIALS HISTORY --seed 1 --rate 100

Prints ``{"ready": ...}`` when it begins. It ends when its standard input is closed and it has made --requests, and
prints what it did. --seconds bounds it in any case.
"""

from __future__ import annotations

import argparse
import sys
import uuid
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import gevent
import orjson
from gevent import pool, queue
from gevent.fileobject import FileObject

from tests.chaos.clients import Client
from tests.chaos.history import Writer, now
from tests.chaos.wire import Answer, Connection, trusting
from tests.chaos.world import World

# Slots that wait for a client. More means that the site is far too slow for the rate; they are left out and counted.
WAITING = 200


class Load:
    """Clients that take up slots of a steady rate: one that waits for its answer does not slow the others down."""

    def __init__(self, credentials: dict[str, str], history: Path, seed: int, clients: int) -> None:
        parts = urlsplit(credentials["url"])
        self._address = (parts.hostname or "", parts.port or 443)
        self._host = parts.netloc
        self._credentials = credentials
        self._context = trusting(credentials["ca"])
        self._slots: queue.Queue[float | None] = queue.Queue()
        self._writer = Writer(history, seed)
        run = f"c{seed}{uuid.uuid4().hex[:6]}"
        world = World(run, seed)
        self.run = run
        self.done = self.left_out = 0
        self.longest_wait = 0.0
        self.clients = [
            Client(number, self._host, self._connection(), world, self._writer) for number in range(clients)
        ]

    def sign_in(self) -> None:
        """Make a user for each client, since each has a limit of its own."""
        administrator = self._sign_in(self._credentials["email"], self._credentials["password"])["access_token"]
        # A few at a time: each hashes a password twice, and the host has other things to do.
        group = pool.Pool(4)
        for client in self.clients:
            group.spawn(self._make_user, client, administrator)
        group.join(raise_error=True)

    def _make_user(self, client: Client, administrator: str) -> None:
        email, password = f"{self.run}-{client.number}@example.com", uuid.uuid4().hex
        user = {"email": email, "name": f"Client {client.number}", "password": password}
        self._ask("/api/users", user, 201, administrator)
        client.signed_in(self._sign_in(email, password))

    def _sign_in(self, email: str, password: str) -> Any:
        return orjson.loads(self._ask("/api/auth/login", {"email": email, "password": password}, 200).body)

    def _ask(self, path: str, body: dict[str, str], expected: int, token: str = "") -> Answer:
        content = orjson.dumps(body)
        authorization = f"Authorization: Bearer {token}\r\n" if token else ""
        head = (
            f"POST {path} HTTP/1.1\r\nHost: {self._host}\r\nContent-Type: application/json\r\n{authorization}"
            f"Content-Length: {len(content)}\r\nConnection: close\r\n\r\n"
        )
        answer = self._connection().request(head.encode(), content)
        if answer.status != expected:
            raise SystemExit(f"POST {path}: {answer.status} {answer.body[:300]!r}. Is the site up?")
        return answer

    def _connection(self) -> Connection:
        return Connection(*self._address, self._context)

    def work(self, rate: float, requests: int, seconds: float) -> None:
        """Offer slots at the rate until it may end, then let every client finish."""
        workers = [gevent.spawn(self._take, client) for client in self.clients]
        watcher = gevent.spawn(_until_closed)
        begun = now()
        number = 0
        while now() < begun + seconds and not (watcher.ready() and self.done >= requests):
            number += 1
            gevent.sleep(max(0.0, begun + number / rate - now()))
            if self._slots.qsize() < WAITING:
                self._slots.put(now())
            else:
                self.left_out += 1
        for _ in workers:
            self._slots.put(None)
        gevent.joinall(workers, raise_error=True)
        watcher.kill()
        self._writer.close()

    def _take(self, client: Client) -> None:
        for due in iter(self._slots.get, None):
            self.longest_wait = max(self.longest_wait, now() - due)
            client.act()
            self.done += 1


def _until_closed() -> None:
    FileObject(sys.stdin.buffer, "rb").read()


def main() -> None:
    """Run the load as asked on the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("credentials", type=Path, help="JSON with url, email, password and ca")
    parser.add_argument("history", type=Path, help="the file to write")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rate", type=float, default=100, help="operations a second")
    parser.add_argument("--clients", type=int, default=48)
    parser.add_argument("--requests", type=int, default=0, help="at least so many operations")
    parser.add_argument("--seconds", type=float, default=600, help="not longer than this")
    options = parser.parse_args()
    load = Load(orjson.loads(options.credentials.read_bytes()), options.history, options.seed, options.clients)
    load.sign_in()
    _say({"ready": True, "run": load.run})
    load.work(options.rate, options.requests, options.seconds)
    reopened = sum(client.connection.reopened for client in load.clients)
    _say(
        {
            "operations": load.done,
            "left_out": load.left_out,
            "longest_wait": round(load.longest_wait, 3),
            "reopened": reopened,
        }
    )


def _say(what: dict[str, Any]) -> None:
    sys.stdout.write(orjson.dumps(what).decode() + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
