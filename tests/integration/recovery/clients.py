"""The official Socket.IO client of Node, as many as a test needs, in one process of their own."""

from __future__ import annotations

import itertools
import json
import subprocess
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.servers import REPOSITORY, stop, wait_until

PROGRAM = Path(__file__).with_name("client.mjs")
# Its node_modules hold the client that browsers get.
FRONTEND = REPOSITORY / "app" / "frontend" / "package.json"

TRANSPORTS = {"websocket": ["websocket"], "polling": ["polling"], "upgrade": ["polling", "websocket"]}
BY_TRANSPORT = pytest.mark.parametrize("transports", TRANSPORTS.values(), ids=TRANSPORTS.keys())


class NodeClient:
    """One client, and everything that has happened to it in order."""

    def __init__(self, clients: NodeClients, name: str, url: str, auth: dict[str, Any]) -> None:
        self._clients = clients
        self.name = name
        self.url = url
        self.auth = auth
        self.reports: list[dict[str, Any]] = []
        # When each of them came.
        self.times: list[float] = []

    def do(self, command: str, **more: Any) -> None:
        self._clients.do({"do": command, "name": self.name, **more})

    def all(self, *what: str) -> list[dict[str, Any]]:
        return [report for report in self.reports if report["what"] in what]

    def wait_for(self, what: str, count: int = 1, seconds: float = 15) -> dict[str, Any]:
        """The report of this kind that makes up the count."""
        wait_until(
            lambda: len(self.all(what)) >= count,
            f"{what} number {count} of client {self.name}",
            self._clients.process,
            self._clients.log,
            seconds,
        )
        return self.all(what)[count - 1]

    @property
    def connection(self) -> dict[str, Any]:
        """What the client knew when it was connected last: id, pid, recovered, transport."""
        return self.all("connect")[-1]

    @property
    def id(self) -> str:
        return self.connection["id"]

    @property
    def recovered(self) -> bool:
        return self.connection["recovered"]

    def events(self, event: str = "number") -> list[list[Any]]:
        """The arguments of each event of this name; an offset is the last of them."""
        return [report["args"] for report in self.all("event") if report["event"] == event]

    def heard(self) -> list[int]:
        """The numbers that a test counted with."""
        return [arguments[0]["n"] for arguments in self.events()]

    def hears(self, numbers: list[int], seconds: float = 15) -> None:
        """Wait until it has heard as many as these, and see that it is these, in this order."""
        with suppress(AssertionError):
            wait_until(lambda: len(self.heard()) >= len(numbers), "the numbers", seconds=seconds)
        assert self.heard() == numbers, f"client {self.name} heard {self.heard()} instead of {numbers}"

    def ask(self, event: str, about: Any) -> dict[str, Any]:
        """Say something; returns what the server answers."""
        before = len(self.all("answer"))
        self.do("ask", event=event, about=about)
        return self.wait_for("answer", before + 1)["answer"]

    def leave(self) -> None:
        """Lose the connection, and notice."""
        before = len(self.all("disconnect"))
        self.do("engineClose")
        self.wait_for("disconnect", before + 1)

    def come_back(self, url: str = "", **auth: Any) -> dict[str, Any]:
        """Connect again, elsewhere when an address is given; returns how it went."""
        before = len(self.all("connect", "connect_error"))
        if auth:
            self.do("setAuth", auth={**self.auth, **auth})
        self.do("reconnect", url=url or self.url)
        wait_until(lambda: len(self.all("connect", "connect_error")) > before, f"client {self.name}", seconds=15)
        return self.all("connect", "connect_error")[before]


class NodeClients:
    """The process, and a thread that reads what it reports."""

    def __init__(self, directory: Path) -> None:
        self.log = directory / "clients.log"
        self._clients: dict[str, NodeClient] = {}
        self._names = map(str, itertools.count(1))
        with self.log.open("ab") as errors:
            self.process = subprocess.Popen(
                ["node", str(PROGRAM), str(FRONTEND)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors
            )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def connect(
        self,
        url: str,
        token: str,
        *transports: str,
        reconnection: bool = False,
        **auth: Any,
    ) -> NodeClient:
        """Begin to connect a client, over WebSocket unless told otherwise."""
        client = NodeClient(self, next(self._names), url, {"token": token, **auth})
        self._clients[client.name] = client
        client.do(
            "connect", url=url, auth=client.auth, transports=transports or ["websocket"], reconnection=reconnection
        )
        return client

    def connected(self, url: str, token: str, *transports: str, **options: Any) -> NodeClient:
        """A client that is connected."""
        client = self.connect(url, token, *transports, **options)
        client.wait_for("connect")
        return client

    def do(self, command: dict[str, Any]) -> None:
        self.process.stdin.write(json.dumps(command).encode() + b"\n")
        self.process.stdin.flush()

    def stop(self) -> None:
        """End all clients without a word, and wait for the last report."""
        stop(self.process)
        self._reader.join(10)
        errors = self.log.read_text()
        assert not errors, errors

    def _read(self) -> None:
        for line in self.process.stdout:
            report = json.loads(line)
            client = self._clients[report["name"]]
            client.times.append(time.monotonic())
            client.reports.append(report)
