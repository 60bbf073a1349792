"""The fleet's one door to systemd."""

import json
import re
import subprocess
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from hecto.fleet.errors import FleetError

TARGET = "hecto.target"
# A second attempt may be the database's fault for a moment; an instance that ends three times is broken.
ATTEMPTS = 3
# Of the journal of an instance that failed: the end of a traceback, and what gunicorn makes of it.
LINES = 12
_INSTANCE = re.compile(r"hecto@(\d+)\.service")
_PROPERTIES = (
    "Id,ActiveState,SubState,Result,MainPID,NRestarts,MemoryCurrent,ExecMainStartTimestampMonotonic,"
    "FragmentPath,DropInPaths,Wants,NeedDaemonReload"
)


@dataclass(frozen=True)
class Unit:
    """What the supervisor knows about one instance."""

    number: int
    active: str
    sub: str = ""
    result: str = "success"
    pid: int = 0
    restarts: int = 0
    memory: int | None = None
    started: float = 0.0
    files: tuple[Path, ...] = ()

    @property
    def runs(self) -> bool:
        """It serves or is on its way; a unit waiting for its next attempt after a crash is neither."""
        return self.active in ("active", "reloading") or (self.active == "activating" and self.sub != "auto-restart")


@dataclass(frozen=True)
class Units:
    """All instances that the supervisor has, and the numbers it should have."""

    wanted: frozenset[int]
    target_active: bool
    by_number: Mapping[int, Unit]


class Supervisor(Protocol):
    """What the fleet needs of whatever runs its instances."""

    def units(self) -> Units: ...

    def start(self, numbers: Collection[int]) -> None: ...

    def stop(self, numbers: Collection[int]) -> None: ...

    def start_target(self) -> None: ...

    def journal(self, number: int, since: float) -> list[str]: ...


class Systemd:
    """systemd through systemctl: one process for any number of units."""

    def __init__(self) -> None:
        self._needs_reload = False

    def units(self) -> Units:
        """The state of the whole fleet in one call; the pattern matches loaded units, all others do not run."""
        shown = self._run("show", TARGET, "hecto@*.service", f"--property={_PROPERTIES}").stdout
        self._needs_reload = "NeedDaemonReload=yes" in shown
        return parse_units(shown, boot=time.time() - time.monotonic())

    def start(self, numbers: Collection[int]) -> None:
        """Begin to start; the caller asks the instances how it goes, and has its own deadline."""
        if not numbers:
            return
        if self._needs_reload:
            # Units were written by a run that was cut short before it told systemd.
            self._run("daemon-reload")
            self._needs_reload = False
        # One that gave up must forget its failures first. That it has none, or is not loaded, is no error.
        self._call(["reset-failed", *units_of(numbers)])
        self._run("start", "--no-block", *units_of(numbers))

    def stop(self, numbers: Collection[int]) -> None:
        """Stop, and wait until each has ended or was killed; raises FleetError when one still runs."""
        if not numbers:
            return
        done = self._call(["stop", *units_of(numbers)])
        # One that was never loaded is an error for systemctl and none for us.
        units = self.units().by_number if done.returncode else {}
        if running := [n for n in numbers if n in units and units[n].active not in ("inactive", "failed")]:
            raise FleetError(
                f"systemctl could not stop {' '.join(units_of(running))}: {done.stderr.strip()}. "
                "They are left as they are. See: systemctl status hecto@NUMBER.service"
            )

    def start_target(self) -> None:
        self._run("start", TARGET)

    def journal(self, number: int, since: float) -> list[str]:
        """The last things that an instance said since a moment."""
        words = ["journalctl", "-t", f"hecto-{number}", f"--since=@{since:.0f}", f"--lines={LINES}"]
        try:
            done = subprocess.run(
                [*words, "--output=cat", "--no-pager", "--quiet"],
                capture_output=True,
                text=True,
                errors="replace",
                check=False,
                timeout=10,
            )
        except (OSError, subprocess.TimeoutExpired):
            return []
        return [part for line in done.stdout.splitlines() for part in said(line)][-LINES:]

    def _run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        done = self._call(arguments)
        if done.returncode != 0:
            raise FleetError(
                f"systemctl {' '.join(arguments)} failed: {done.stderr.strip() or done.returncode}. "
                "Nothing more was done. Does this host run systemd, and was the role hecto applied to it?"
            )
        return done

    @staticmethod
    def _call(arguments: Sequence[str]) -> subprocess.CompletedProcess[str]:
        try:
            return subprocess.run(["systemctl", *arguments], capture_output=True, text=True, check=False)
        except FileNotFoundError:
            raise FleetError(
                "systemctl is not on this machine: the fleet is run on its host. Use ./hecto exec."
            ) from None


def said(line: str) -> list[str]:
    """What a line of an instance says to a person: its message and the lines of its exception."""
    try:
        found = json.loads(line)
    except ValueError:
        return [line]
    if not isinstance(found, dict) or "message" not in found:
        return [line]
    return [found["message"], *found.get("exception", "").splitlines()]


def units_of(numbers: Iterable[int]) -> list[str]:
    """The unit names of instances."""
    return [f"hecto@{number}.service" for number in numbers]


def parse_units(shown: str, boot: float) -> Units:
    """Read `systemctl show`: blocks of key=value, one block a unit. `boot` turns its monotonic times into wall time."""
    wanted: frozenset[int] = frozenset()
    target_active = False
    units: dict[int, Unit] = {}
    for block in shown.strip().split("\n\n"):
        values = dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
        name = values.get("Id", "")
        if name == TARGET:
            wanted = frozenset(int(number) for number in _INSTANCE.findall(values.get("Wants", "")))
            target_active = values.get("ActiveState") == "active"
        elif match := _INSTANCE.fullmatch(name):
            unit = _unit(int(match[1]), values, boot)
            units[unit.number] = unit
    return Units(wanted, target_active, units)


def _unit(number: int, values: dict[str, str], boot: float) -> Unit:
    memory = values.get("MemoryCurrent", "")
    files = [values.get("FragmentPath", ""), *values.get("DropInPaths", "").split()]
    started = int(values.get("ExecMainStartTimestampMonotonic") or 0)
    return Unit(
        number=number,
        active=values.get("ActiveState", "inactive"),
        sub=values.get("SubState", ""),
        result=values.get("Result", "success"),
        pid=int(values.get("MainPID") or 0),
        restarts=int(values.get("NRestarts") or 0),
        # "[not set]" and 2^64-1 both mean that this kernel does not count (cgroup v1 without the controller).
        memory=int(memory) if memory.isdigit() and int(memory) < 2**63 else None,
        started=boot + started / 1e6 if started else 0.0,
        files=tuple(Path(path) for path in files if path),
    )
