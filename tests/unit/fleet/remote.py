"""Lets a roller in a process of its own use the supervisor of the test, as systemd outlives whoever calls it."""

import json
import socket
import socketserver
import threading
from collections.abc import Collection
from dataclasses import asdict
from pathlib import Path
from typing import Any

from hecto.fleet.supervisor import Unit, Units
from tests.unit.fleet.processes import Processes


class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    """Answers calls, one JSON line each."""

    daemon_threads = True

    def __init__(self, path: Path, processes: Processes) -> None:
        self.processes = processes
        super().__init__(str(path), _Handler)
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()


class _Handler(socketserver.StreamRequestHandler):
    server: Server

    def handle(self) -> None:
        verb, arguments = json.loads(self.rfile.readline())
        answer = getattr(self.server.processes, verb)(*arguments)
        if isinstance(answer, Units):
            units = [asdict(unit) | {"files": [str(path) for path in unit.files]} for unit in answer.by_number.values()]
            answer = [sorted(answer.wanted), answer.target_active, units]
        self.wfile.write(json.dumps(answer).encode() + b"\n")


class Remote:
    """A supervisor on the other side of a socket."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def units(self) -> Units:
        wanted, target_active, units = self._call("units")
        found = (Unit(**unit | {"files": tuple(map(Path, unit["files"]))}) for unit in units)
        return Units(frozenset(wanted), target_active, {unit.number: unit for unit in found})

    def start(self, numbers: Collection[int]) -> None:
        self._call("start", list(numbers))

    def stop(self, numbers: Collection[int]) -> None:
        self._call("stop", list(numbers))

    def start_target(self) -> None:
        self._call("start_target")

    def journal(self, number: int, since: float) -> list[str]:
        return list(self._call("journal", number, since))

    def _call(self, verb: str, *arguments: Any) -> Any:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(self._path))
            connection.sendall(json.dumps([verb, arguments]).encode() + b"\n")
            with connection.makefile() as answer:
                return json.loads(answer.readline())
