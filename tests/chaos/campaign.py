"""A run under load: begins the load, keeps when each phase and each fault came, ends it and gathers the evidence."""

from __future__ import annotations

import json
import random
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any

from control.progress import say
from control.site import ROOT, Site
from control.tools import tool
from tests.chaos import evidence, history
from tests.chaos.commands import Hecto, Host
from tests.chaos.cores import Watch
from tests.chaos.evidence import Evidence
from tests.chaos.faults import Fault
from tests.chaos.history import Operation
from tests.chaos.report import Report, make

# Longer than any client waits for its last answer.
END_SECONDS = 120


@dataclass
class Phase:
    """A part of the run. ``bounded``: errors are allowed while it lasts, since nothing could prevent them."""

    name: str
    begin: float
    end: float = 0.0
    bounded: bool = False


@dataclass
class Event:
    """Something that was done to the site, when, and how long it took."""

    at: float
    phase: str
    what: str
    seconds: float = 0.0
    kills: int = 0


@dataclass(frozen=True)
class Size:
    """How much load, and for how long at most."""

    rate: float = 80.0
    clients: int = 16
    requests: int = 0
    seconds: float = 420.0


@dataclass
class Campaign:
    """One run on one site."""

    site: Site
    directory: Path
    seed: int
    size: Size
    phases: list[Phase] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        self.random = random.Random(self.seed)
        self.hosts = [Host(self.site, machine) for machine in self.site.hosts]
        self.host = self.hosts[0]
        log = self.directory / "commands.log"
        log.unlink(missing_ok=True)
        self.hecto = Hecto(self.site, log)
        self.history = self.directory / "history.jsonl"
        self._load: subprocess.Popen[str] | None = None
        self.cores = Watch()
        self._errors: IO[str] = (self.directory / "load.log").open("w")
        self.run = ""
        self.done: dict[str, Any] = {}

    def begin(self) -> None:
        """Start the load; comes back when every client works."""
        self._log_ends = evidence.log_ends(self.hosts)
        credentials = self.site.directory / "credentials.json"
        words: list[str | Path] = [tool("python"), "-m", "tests.chaos.load", credentials, self.history]
        for option, value in asdict(self.size).items():
            words += [f"--{option}", str(value)]
        self._load = subprocess.Popen(
            [*words, "--seed", str(self.seed)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
        )
        self.run = self._hear()["run"]
        self.cores.start()

    def end(self) -> Report:
        """Let the load come to its end, then hold what it did against what is there."""
        return make(self, *self.finish())

    def finish(self) -> tuple[list[Operation], Evidence]:
        """Let the load come to its end; returns what it did and what is there."""
        assert self._load is not None
        assert self._load.stdin is not None
        self._load.stdin.close()
        self.done = self._hear()
        self._load.wait(END_SECONDS)
        self.cores.stop()
        operations = list(history.read(self.history))
        return operations, evidence.gather(self.hosts, self.run, self.site, self._log_ends)

    def close(self) -> None:
        """Leave nothing running, whatever has happened."""
        if self._load is not None and self._load.poll() is None:
            self._load.terminate()
            self._load.wait(END_SECONDS)
        self.cores.stop()
        self._errors.close()
        for host in self.hosts:
            host.close()

    @contextmanager
    def phase(self, name: str, *, bounded: bool = False) -> Iterator[None]:
        """What is done inside belongs to this phase; requests that begin in it are measured apart."""
        current = Phase(name, history.now(), bounded=bounded)
        self.phases.append(current)
        try:
            yield
        finally:
            current.end = history.now()
            say(f"  {name:<58} {current.end - current.begin:6.1f} s")

    def part(self, name: str, begin: float, end: float) -> None:
        """A part of what was a phase, measured once more by itself."""
        self.phases.append(Phase(name, begin, end))

    def note(self, what: str, begun: float, *, seconds: float = 0.0, kills: int = 0) -> None:
        """Write down something that was done."""
        name = self.phases[-1].name if self.phases else ""
        self.events.append(Event(begun, name, what, seconds, kills))

    def strike(self, fault: Fault, *, kills: int = 0) -> None:
        """Do something to the site and write it down."""
        begun = history.now()
        self.note(fault(self.host), begun, kills=kills)

    def rest(self, low: float, high: float | None = None) -> None:
        """Let the load go on undisturbed."""
        time.sleep(self.random.uniform(low, high or low))

    def _hear(self) -> dict[str, Any]:
        assert self._load is not None
        assert self._load.stdout is not None
        line = self._load.stdout.readline()
        if not line:
            self._load.wait(END_SECONDS)
            raise AssertionError(f"the load ended before its time: {(self.directory / 'load.log').read_text()[-2000:]}")
        said: dict[str, Any] = json.loads(line)
        return said
