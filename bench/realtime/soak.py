"""Many connections held for a while, with events all the time: is anything lost, and does anything grow?"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

from bench.realtime.client import PATIENCE, Crowd, Heard, Seat, percentile
from bench.realtime.edge import Edge
from bench.realtime.fleets import Fleet, Instance, ask
from bench.realtime.measure import warm_up
from bench.realtime.processes import all_cpu_ns, memory
from bench.realtime.report import figure

# Members of a room: those who have the same list open.
MEMBERS = 50
SHARES = (0.5, 0.99, 0.999)
ABOUT = """\
One process held all connections, {way}. The members of a room are spread over the instances; an
instance without connections emitted. Each event carries its number in its room, which every client counts. PSS and CPU
are those of all processes of a group; the clients' are the benchmark's own.
"""


STRAIGHT = "straight to the instances' unix sockets, by which nginx reaches them; nginx itself was not between"
THROUGH = "through nginx as its role configures it, but without TLS"


@dataclass(frozen=True)
class Plan:
    """How much, and for how long. A room's members are at as many instances as there are, the dearest case."""

    sockets: int = 10_000
    instances: int = 20
    minutes: float = 10
    # Events a second, to all rooms in turns.
    rate: int = 100
    # Whether nginx is between.
    nginx: bool = False

    @property
    def rooms(self) -> int:
        """How many rooms of MEMBERS the sockets fill."""
        return self.sockets // MEMBERS

    @property
    def turns(self) -> int:
        """How many events each room gets."""
        return max(1, round(self.minutes * 60 * self.rate / self.rooms))

    @property
    def events(self) -> int:
        """How many events all rooms get."""
        return self.turns * self.rooms


@dataclass
class Watch:
    """The processor time of groups of processes, second by second, as shares of one core in percent."""

    groups: Mapping[str, list[int]]
    seconds: dict[str, list[float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._at = time.monotonic()
        self._used = self._look()
        self.seconds = {name: [] for name in self.groups}

    def look(self) -> None:
        """Take a look when a second has passed since the one before."""
        now = time.monotonic()
        if now - self._at < 1:
            return
        used = self._look()
        for name, values in self.seconds.items():
            values.append(round((used[name] - self._used[name]) / (now - self._at) / 1e7, 1))
        self._at, self._used = now, used

    def _look(self) -> dict[str, int]:
        return {name: all_cpu_ns(pids) for name, pids in self.groups.items()}


def soak(fleet: Fleet, plan: Plan, note: Callable[[str], None]) -> dict[str, Any]:
    """Hold the connections and count; the last instance has none of them and emits."""
    note(f"{plan.instances + 1} instances")
    fleet.grow(plan.instances + 1)
    *serving, emitter = fleet.instances
    paths = [one.path for one in serving]
    groups = {
        "instances": [one.pid for one in serving],
        "emitter": [emitter.pid],
        "Redis": [fleet.redis_pid],
        "clients": [os.getpid()],
    }
    with ExitStack() as running:
        if plan.nginx:
            note("nginx")
            edge = Edge(fleet.directory / "edge", serving, plan.sockets)
            running.callback(edge.close)
            paths, groups["nginx"] = [edge.path], edge.pids
        seats = [
            Seat(paths[number % len(paths)], fleet.token, number // MEMBERS) for number in range(plan.rooms * MEMBERS)
        ]
        return _hold(seats, emitter, groups, plan, note)


def _hold(
    seats: list[Seat], emitter: Instance, groups: Mapping[str, list[int]], plan: Plan, note: Callable[[str], None]
) -> dict[str, Any]:
    with Crowd() as crowd:
        note(f"{len(seats)} connections")
        crowd.connect(seats)
        first = warm_up(crowd, emitter, plan.rooms, len(seats))
        crowd.begin(first)
        begin = _memory(groups)
        watch = Watch(groups)
        note(f"{plan.events} events")
        seconds = _emit(crowd, plan, lambda: ask(emitter, "emit", _longest(plan), **_asked(plan, first)), watch)
        end = _memory(groups)
        heard = crowd.end(first + plan.turns)
    return {
        "connections": len(seats),
        "instances": plan.instances,
        "rooms": plan.rooms,
        "events emitted": plan.events,
        "events a second, as emitted": round((plan.events - 1) / seconds, 1),
        **_counts(heard, plan.events * MEMBERS),
        "latency, ms": {f"p{share * 100:g}": round(percentile(heard.latencies, share) / 1e6, 2) for share in SHARES},
        "PSS at the beginning, MB": begin,
        "PSS at the end, MB": end,
        "CPU, % of a core, by second": watch.seconds,
    }


def rows(found: Mapping[str, Any]) -> list[list[str]]:
    """The figures as lines of a table; of the seconds, their mean and the most."""
    lines = [["figure", "number"]]
    for name, value in found.items():
        if not isinstance(value, Mapping):
            lines.append([name, f"{value:,}"])
            continue
        for part, amount in value.items():
            if isinstance(amount, list):
                shown = f"{figure(sum(amount) / len(amount))}, at most {figure(max(amount))}" if amount else "—"
                lines.append([f"{name.removesuffix(', by second')}, {part}", shown])
            else:
                lines.append([f"{name}, {part}", figure(amount)])
    return lines


def _emit(crowd: Crowd, plan: Plan, work: Callable[[], dict[str, Any]], watch: Watch) -> float:
    """Hear all events of an emission; returns the seconds that it took to emit them."""
    expected = plan.events * MEMBERS
    with ThreadPoolExecutor(1) as other:
        answer = other.submit(work)

        def emitted() -> bool:
            watch.look()
            return answer.done()

        crowd.listen(emitted, _longest(plan))
        seconds = float(answer.result()["seconds"])
    crowd.listen(lambda: crowd.heard.events >= expected, PATIENCE)
    return seconds


def _asked(plan: Plan, first: int) -> dict[str, int]:
    return {"rooms": plan.rooms, "first": first, "count": plan.events, "rate": plan.rate}


def _longest(plan: Plan) -> float:
    return 2 * plan.events / plan.rate + PATIENCE


def _counts(heard: Heard, expected: int) -> dict[str, int]:
    return {
        "deliveries expected": expected,
        "deliveries heard": heard.events,
        "lost": heard.lost,
        "repeated": heard.repeated,
        "reordered": heard.reordered,
    }


def _memory(groups: Mapping[str, list[int]]) -> dict[str, float]:
    return {name: round(sum(memory(pid).pss for pid in pids) / 1e6, 1) for name, pids in groups.items()}
