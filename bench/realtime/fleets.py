"""The servers that are compared: processes of each, as many as a measurement asks for, with a Redis between them."""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import shutil
import socket
import subprocess
import sys
from abc import ABC, abstractmethod
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from bench.writes import children
from control.shell import locked, run
from control.site import CACHE, ROOT
from tests.integration.conftest import Client
from tests.servers import ADMIN_EMAIL, ADMIN_PASSWORD, PASSWORD, AppInstance, Postgres, Redis, Site, stop, wait_until

# Starting one takes a core for a second or two.
AT_ONCE = os.cpu_count() or 1
# Of one instance; more than any measurement connects to one.
CONNECTIONS = 12_000
NODE = Path(__file__).parent / "node"


@dataclass(frozen=True)
class Instance:
    """One process that serves, by the socket that nginx would use; `pid` is of the process that does the work."""

    path: Path
    pid: int
    log: Path


class Fleet(ABC):
    """Instances of one server."""

    name: str
    # What is done when a client connects, for whoever compares.
    connecting: str
    # What a client signs in with.
    token = ""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.directory.mkdir()
        self.redis = Redis(self.directory / "redis")
        self.instances: list[Instance] = []
        # By number; of those that were started, whether they answered or not.
        self._processes: dict[int, Any] = {}

    def grow(self, count: int) -> None:
        """Start instances until there are so many."""
        with ThreadPoolExecutor(AT_ONCE) as many:
            self.instances += many.map(self._start, range(len(self.instances), count))

    def shrink(self) -> None:
        """Stop all instances; Redis stays."""
        with ThreadPoolExecutor(2 * AT_ONCE) as many:
            list(many.map(self._stop, list(self._processes)))
        self.instances = []

    def close(self) -> None:
        """Stop everything."""
        self.shrink()
        self.redis.stop()

    @property
    def redis_pid(self) -> int:
        """The process of this server's Redis."""
        return _pid(self.redis.process)

    @abstractmethod
    def _start(self, number: int) -> Instance:
        """Start an instance and wait until it answers."""

    @abstractmethod
    def _stop(self, number: int) -> None:
        """Stop an instance."""


class Hecto(Fleet):
    """This repository's, with PostgreSQL."""

    name = "Hecto"
    connecting = "checks the access token and its session, enters 3 rooms and asks Redis for the last release"

    def __init__(self, directory: Path, most: int) -> None:
        super().__init__(directory)
        # Each instance keeps at least one connection, and those at work two or three.
        self._postgres = Postgres(self.directory / "postgres", connections=3 * most + 20)
        self._site = Site(self.directory, self._postgres, self.redis, "bench")
        self._site.setup()

    def _start(self, number: int) -> Instance:
        process: AppInstance | None = self._processes.get(number)
        if process is None:
            process = self._processes[number] = AppInstance(
                self._site,
                app="bench.realtime.hecto_app:app",
                PYTHONPATH=f"{ROOT / 'app'}:{ROOT}",
                GUNICORN_CMD_ARGS=f"--worker-connections={CONNECTIONS}",
                # One person opens all of the connections.
                HECTO_REQUESTS_PER_MINUTE="10000000",
            )
        else:
            process.start()
        if not self.token:
            client = Client(process).sign_in(ADMIN_EMAIL, ADMIN_PASSWORD)
            self.token = str(client.headers["Authorization"]).removeprefix("Bearer ")
        path = self._site.run / f"{process.number}.sock"
        return Instance(path, children(_pid(process.process))[0], process.log)

    def _stop(self, number: int) -> None:
        # It is kept, and started again in the next round with the port that it has.
        self._processes[number].stop()

    def shrink(self) -> None:
        super().shrink()
        # A token is good for a quarter of an hour, which a turn takes a part of and a run more than.
        self.token = ""

    def close(self) -> None:
        super().close()
        self._postgres.stop()


class Launched(Fleet):
    """A server that one command starts on a unix socket."""

    def _launch(self, number: int, command: list[str | Path], environment: Mapping[str, str]) -> Instance:
        path, log = self.directory / f"{number}.sock", self.directory / f"{number}.log"
        path.unlink(missing_ok=True)
        with log.open("ab") as output:
            process = self._processes[number] = subprocess.Popen(
                [str(word) for word in command],
                env={"PATH": os.environ["PATH"], "BENCH_SOCKET": str(path), **environment},
                cwd=self.directory,
                stdout=output,
                stderr=output,
            )
        wait_until(lambda: _answers(path), f"{self.name} {number}", process, log)
        return Instance(path, process.pid, log)

    def _stop(self, number: int) -> None:
        stop(self._processes.pop(number))


class Stock(Launched):
    """Flask-SocketIO as it comes, with the versions that Hecto has."""

    name = "Flask-SocketIO"
    connecting = "signs nobody in"

    def _start(self, number: int) -> Instance:
        options = f"-k gevent -w 1 --worker-connections {CONNECTIONS} --graceful-timeout 1 --backlog 1024"
        control = ["--no-control-socket", "--bind", f"unix:{self.directory / f'{number}.sock'}"]
        found = self._launch(
            number,
            [sys.executable, "-m", "gunicorn", *options.split(), *control, "bench.realtime.stock_app:app"],
            {
                "PYTHONPATH": str(ROOT),
                "BENCH_REDIS": f"unix://{self.redis.socket}?username=hecto&password={PASSWORD}",
            },
        )
        return Instance(found.path, children(found.pid)[0], found.log)


class Node(Launched):
    """Socket.IO's own server, with the adapter that passes events on by Redis' publish and subscribe."""

    name = "Socket.IO pub/sub"
    adapter = "pubsub"
    connecting = "signs nobody in"

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self._program = _installed()

    def _start(self, number: int) -> Instance:
        environment = {
            "NODE_ENV": "production",
            "BENCH_ADAPTER": self.adapter,
            "BENCH_REDIS": str(self.redis.socket),
            "BENCH_REDIS_USER": "hecto",
            "BENCH_REDIS_PASSWORD": PASSWORD,
        }
        return self._launch(number, ["node", "--expose-gc", self._program], environment)


class NodeStreams(Node):
    """The same with the adapter that keeps events in a stream of Redis, so that clients can catch up."""

    name = "Socket.IO streams"
    adapter = "streams"


def ask(instance: Instance, address: str, seconds: float = 30, **query: int) -> dict[str, Any]:
    """Have an instance do something of the benchmark's, and return its answer."""
    connection = http.client.HTTPConnection("localhost")
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.settimeout(seconds)
    connection.sock.connect(str(instance.path))
    try:
        connection.request("GET", f"/bench/{address}?{urlencode(query)}")
        answer = connection.getresponse()
        text = answer.read().decode()
    finally:
        connection.close()
    if answer.status != 200:
        raise RuntimeError(f"/bench/{address} was answered {answer.status}: {text[:300]}; see {instance.log}")
    found: dict[str, Any] = json.loads(text)
    return found


def _pid(process: subprocess.Popen[bytes] | None) -> int:
    if process is None:
        raise RuntimeError("a process is asked for that was never started")
    return process.pid


def _answers(path: Path) -> bool:
    try:
        ask(Instance(path, 0, path), "settle", seconds=5)
    except OSError:
        return False
    return True


def _installed() -> Path:
    """The Node program beside its libraries, which npm installs where no other run of it is at work."""
    files = [NODE / "package.json", NODE / "package-lock.json"]
    made_from = hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:12]
    directory = CACHE / "bench" / f"node-{made_from}"
    with locked(CACHE / "lock" / "bench-node", "installs the libraries of the benchmark"):
        directory.mkdir(parents=True, exist_ok=True)
        for file in (*files, NODE / "server.mjs"):
            shutil.copy(file, directory)
        if not (directory / "installed").exists():
            advice = "look whether npm reaches its registry from here: npm ping; npm's own configuration is honoured"
            log = CACHE / "log" / "bench-node.log"
            run(["npm", "ci", "--no-audit", "--no-fund"], cwd=directory, log=log, advice=advice)
            (directory / "installed").touch()
    return directory / "server.mjs"
