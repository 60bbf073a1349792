"""The instances of this host, from look to look: what differs between two is what they did meanwhile."""

import time
from collections import Counter
from dataclasses import dataclass
from typing import Any

from hecto.fleet import memory
from hecto.fleet.control import ControlError, Reply
from hecto.fleet.errors import FleetError
from hecto.fleet.layout import Layout
from hecto.fleet.snapshot import problem_of, state_of
from hecto.fleet.supervisor import Supervisor, Unit, Units
from hecto.fleet.top.asking import ask
from hecto.fleet.top.machine import processor_seconds, tree

# Of how many instances one look asks: each answer costs that instance a millisecond of its own work.
AT_ONCE = 25
# Where the kernel does not count memory by unit (cgroup v1), it is added up of all pages, which takes 5 ms an instance.
WEIGHED_AT_ONCE = 1
# systemd tells of every property of every unit, which takes it a millisecond each: who started or ended changes rarely.
UNITS_SECONDS = 10.0
TIMEOUT = 1.0


@dataclass
class _Seen:
    """What is known of one instance from before."""

    reply: Reply | ControlError | None = None
    # Of the last answer: when, and the rates since the one before it.
    at: float = 0.0
    requests: float | None = None
    errors: float | None = None
    # Of its processes: the main one, all of them, what they have used of processors, when, and the share since then.
    pid: int = 0
    pids: tuple[int, ...] = ()
    spent: float | None = None
    spent_at: float = 0.0
    cpu: float | None = None
    memory: int | None = None


class Fleet:
    """All instances that run here or should."""

    def __init__(self, layout: Layout, supervisor: Supervisor, at_once: int = AT_ONCE) -> None:
        self._layout, self._supervisor, self._at_once = layout, supervisor, at_once
        self._units: Units | None = None
        self._units_at = 0.0
        self._seen: dict[int, _Seen] = {}
        self._turn = 0
        self._first_restarts: dict[int, int] = {}
        self.restarted = 0

    def look(self) -> dict[str, Any] | None:
        """The fleet as plain values; None on a host that is to run no instance."""
        now = time.monotonic()
        if self._units is None or now - self._units_at >= UNITS_SECONDS:
            try:
                self._units, self._units_at = self._supervisor.units(), now
            except FleetError:
                return None
        units = self._units
        release = self._layout.current_release()
        if release is None and not units.by_number and not units.wanted:
            return None
        numbers = [n for n, unit in sorted(units.by_number.items()) if unit.active != "inactive" or n in units.wanted]
        self._ask([number for number in numbers if units.by_number[number].runs])
        for number in numbers:
            self._weigh(units.by_number[number], now)
        self._count_restarts(units)
        lost = sorted(units.wanted - set(numbers))
        rows = [self._row(units.by_number[n], n in units.wanted) for n in numbers]
        rows += [self._row(Unit(n, "inactive"), True) for n in lost]
        return {"release": release, "restarted": self.restarted, "instances": rows, **sums(rows)}

    def _ask(self, running: list[int]) -> None:
        unknown = [number for number in running if number not in self._seen]
        known = [number for number in running if number in self._seen]
        first = self._turn % len(known) if known else 0
        turn = (known[first:] + known[:first])[: self._at_once]
        self._turn = first + len(turn)
        for number, reply in ask({n: self._layout.control(n) for n in [*unknown, *turn]}, TIMEOUT).items():
            self._take(self._seen.setdefault(number, _Seen()), reply)
            if not isinstance(reply, Reply):
                # It may just have ended: systemd knows.
                self._units_at = 0.0
        self._weigh_in_turn(turn[:WEIGHED_AT_ONCE] + unknown)

    def _take(self, seen: _Seen, reply: Reply | ControlError) -> None:
        now, before = time.monotonic(), seen.reply
        if isinstance(reply, Reply) and isinstance(before, Reply) and before.pid == reply.pid and now > seen.at:
            seen.requests = max(0, reply.requests - before.requests) / (now - seen.at)
            seen.errors = max(0, reply.errors - before.errors) / (now - seen.at)
        else:
            seen.requests = seen.errors = None
        seen.reply, seen.at = reply, now

    def _weigh_in_turn(self, numbers: list[int]) -> None:
        assert self._units is not None
        for number in numbers:
            unit = self._units.by_number[number]
            if unit.memory is None and unit.runs:
                self._seen[number].memory = memory.of_process_tree(unit.pid)

    def _weigh(self, unit: Unit, now: float) -> None:
        """What the processes of an instance use; its children are looked for when systemd was, or it has others."""
        seen = self._seen.setdefault(unit.number, _Seen())
        if seen.pid != unit.pid or self._units_at == now or len(seen.pids) < 2:
            pids = tuple(tree(unit.pid))
            if pids != seen.pids:
                seen.spent = None
            seen.pid, seen.pids = unit.pid, pids
        if unit.memory is not None:
            seen.memory = unit.memory
        spent = processor_seconds(list(seen.pids))
        passed = now - seen.spent_at
        if spent is not None and seen.spent is not None and passed > 0:
            seen.cpu = max(0.0, spent - seen.spent) / passed
        else:
            seen.cpu = None
        seen.spent, seen.spent_at = spent, now

    def _count_restarts(self, units: Units) -> None:
        """Restarts that systemd made by itself since this began to look."""
        for number, unit in units.by_number.items():
            self._first_restarts.setdefault(number, unit.restarts)
        self.restarted = sum(
            max(0, unit.restarts - self._first_restarts[number]) for number, unit in units.by_number.items()
        )

    def _row(self, unit: Unit, wanted: bool) -> dict[str, Any]:
        seen = self._seen.get(unit.number, _Seen())
        reply = seen.reply if unit.runs else None
        answer = reply if isinstance(reply, Reply) else None
        return {
            "number": unit.number,
            "name": f"instance-{unit.number}",
            "state": state_of(unit, answer),
            "wanted": wanted,
            "release": answer.release if answer else self._layout.pin_of(unit.number),
            "uptime": answer.uptime + time.monotonic() - seen.at if answer else None,
            "requests": _rounded(seen.requests if answer else None),
            "errors": _rounded(seen.errors if answer else None),
            "in_flight": answer.in_flight if answer else None,
            "websockets": answer.websockets if answer else None,
            "cpu": _rounded(seen.cpu if unit.runs else None),
            "memory": seen.memory if unit.runs else None,
            "restarts": unit.restarts,
            "problem": problem_of(unit, reply),
        }


def sums(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """What the instances of a host, or of several, are and do together."""
    found: dict[str, Any] = {
        name: round(sum(row[name] or 0 for row in rows), 3)
        for name in ("requests", "errors", "in_flight", "websockets", "cpu", "memory", "restarts")
    }
    found["wanted"] = sum(row["wanted"] for row in rows)
    found["ready"] = sum(row["wanted"] and row["state"] == "ready" for row in rows)
    found["states"] = dict(Counter(row["state"] for row in rows).most_common())
    found["releases"] = dict(Counter(row["release"] for row in rows if row["release"]).most_common())
    return found


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)
