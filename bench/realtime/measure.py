"""The measurements: what one server costs, in one turn of one round."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from time import monotonic

from bench.realtime.client import PATIENCE, Crowd, Heard, Seat, percentile
from bench.realtime.fleets import Fleet, Instance, ask
from bench.realtime.processes import all_cpu_ns, cpu_ns, memory
from control.progress import Failure

# Instances whose sockets are in the rooms, where the cost of an emit is measured; one more emits.
HEARING = 3
# First connections, first imports and growing tables are no cost of a connection: so many come and go before.
FIRST = 50
# Until the other instances are heard; some begin to listen when their first client has come.
WARM_UPS = 20
# For sockets to be closed at both ends, and for memory to be given back.
SETTLE = 1.0

# Beside the others to judge them by, and no figures of real-time servers.
EMPTY = "memory of an instance without connections, PSS, MB"
RATE_REACHED = "events a second, as emitted"
STOLEN = "taken by other virtual machines, % of all cores"
CIRCUMSTANCES = frozenset((EMPTY, RATE_REACHED, STOLEN))

Note = Callable[[str], None]


@dataclass(frozen=True)
class Size:
    """How large the measurements are; `rate` is in events a second, to all rooms in turns."""

    idle: int = 2000
    rooms: int = 10
    members: int = 50
    # With full rooms 5,000 deliveries a second, which leaves no server without time to spare: latency is then not that
    # of a queue.
    rate: int = 100
    seconds: int = 10
    fleets: tuple[int, ...] = (4, 10, 100)

    @property
    def turns(self) -> int:
        """How many events a measurement emits to each room."""
        return self.rate * self.seconds // self.rooms

    @property
    def events(self) -> int:
        """How many events a measurement emits to all rooms."""
        return self.turns * self.rooms


QUICK = Size(idle=100, rooms=2, members=20, rate=50, seconds=2, fleets=(4,))


def turn(fleet: Fleet, size: Size, note: Note) -> dict[str, float]:
    """All figures of a server, with processes that were started for it and are stopped after it."""
    try:
        note("two instances")
        fleet.grow(2)
        note(f"{size.idle} idle connections")
        figures = idle_connections(fleet, size.idle)
        note(f"rooms of {size.members}")
        figures |= deliveries(fleet, size)
        for count in size.fleets:
            note(f"emits among {count} instances")
            fleet.grow(count)
            figures |= emits(fleet, size)
        return figures
    finally:
        fleet.shrink()


def idle_connections(fleet: Fleet, count: int) -> dict[str, float]:
    """What it takes to connect to an instance, and to stay connected."""
    instance = fleet.instances[0]
    seat = Seat(instance.path, fleet.token)
    with Crowd() as crowd:
        crowd.connect([seat] * FIRST)
    with Crowd() as crowd:
        _settle(crowd, instance)
        before, cpu_before = memory(instance.pid), cpu_ns(instance.pid)
        crowd.connect([seat] * count)
        cpu = cpu_ns(instance.pid) - cpu_before
        _settle(crowd, instance)
        after = memory(instance.pid)
    with Crowd() as nobody:
        _settle(nobody, instance)
    return {
        EMPTY: before.pss / 1e6,
        "memory a connection, PSS, kB": (after.pss - before.pss) / count / 1e3,
        "memory a connection, private, kB": (after.private - before.private) / count / 1e3,
        "memory a connection, RSS, kB": (after.rss - before.rss) / count / 1e3,
        "CPU a connect, µs": cpu / count / 1e3,
    }


def deliveries(fleet: Fleet, size: Size) -> dict[str, float]:
    """What an instance needs to pass on another one's events to full rooms, and how long they take."""
    instance, emitter = fleet.instances[:2]
    seats = [Seat(instance.path, fleet.token, room) for room in range(size.rooms) for _ in range(size.members)]
    clock = partial(_clocks, fleet, {"instance": [instance], "emitter": [emitter]})
    with Crowd() as crowd:
        crowd.connect(seats)
        first = rehearsal(crowd, emitter, size, len(seats))
        before = clock()
        seconds, heard = emission(crowd, emitter, size, first, len(seats))
        used = _since(before, clock())
    milliseconds = [percentile(heard.latencies, share) / 1e6 for share in (0.5, 0.99)]
    return {
        "CPU of the instance a delivered event, µs": used["instance"] / heard.events / 1e3,
        "CPU of Redis an emitted event, µs": used["Redis"] / size.events / 1e3,
        "CPU of the emitter an emitted event, µs": used["emitter"] / size.events / 1e3,
        "latency p50, ms": milliseconds[0],
        "latency p99, ms": milliseconds[1],
        RATE_REACHED: (size.events - 1) / seconds,
    }


def emits(fleet: Fleet, size: Size) -> dict[str, float]:
    """What an emit costs all processes while so many instances run, each with a connection and three in the rooms.

    What they need while nothing is emitted is taken off.
    """
    *others, emitter = fleet.instances
    seats = [Seat(one.path, fleet.token, room) for one in others[:HEARING] for room in range(size.rooms)]
    seats += [Seat(one.path, fleet.token) for one in fleet.instances[HEARING:]]
    clock = partial(_clocks, fleet, {"instances": others, "emitter": [emitter]})
    with Crowd() as crowd:
        crowd.connect(seats)
        hearing = size.rooms * HEARING
        first = rehearsal(crowd, emitter, size, hearing)
        idle, idle_seconds = _while(clock, lambda: crowd.listen(lambda: False, size.seconds))
        used, seconds = _while(clock, lambda: emission(crowd, emitter, size, first, hearing))
    net = {name: (used[name] - idle[name] * seconds / idle_seconds) / size.events / 1e3 for name in used}
    count = len(fleet.instances)
    return {f"CPU an emit among {count} instances, {name}, µs": value for name, value in net.items()} | {
        f"CPU an emit among {count} instances, all, µs": sum(net.values())
    }


def warm_up(crowd: Crowd, emitter: Instance, rooms: int, expected: int) -> int:
    """Emit once to every room, again until all `expected` clients hear it; returns the number of the next event."""
    crowd.begin(0)
    for number in range(WARM_UPS):
        _emit(crowd, emitter, rooms=rooms, first=number, count=rooms, rate=1000)
        # Events of a room come in order: where this one was heard, none of the times before is still on its way.
        if crowd.listen(partial(_have_heard, crowd, number, expected), SETTLE):
            return number + 1
    raise Failure(
        f"{crowd.have_heard(WARM_UPS - 1)} of {expected} clients heard another instance, at the {WARM_UPS}th attempt",
        advice=f"look into {emitter.log} whether it reaches Redis",
    )


def rehearsal(crowd: Crowd, emitter: Instance, size: Size, hearing: int) -> int:
    """Do all of a measurement without looking; returns the number of the next event.

    Node compiles while it runs what it runs often, and is in no hurry to.
    """
    first = warm_up(crowd, emitter, size.rooms, hearing)
    emission(crowd, emitter, size, first, hearing)
    return first + size.turns


def emission(crowd: Crowd, emitter: Instance, size: Size, first: int, hearing: int) -> tuple[float, Heard]:
    """Emit, and have as many clients hear all of it as are in the rooms.

    Returns the seconds that emitting took, and what was heard. Raises Failure when anything is missing.
    """
    expected = size.turns * hearing
    crowd.begin(first)
    asked = {"rooms": size.rooms, "first": first, "count": size.events, "rate": size.rate}
    seconds = _emit(crowd, emitter, **asked)
    crowd.listen(lambda: crowd.heard.events >= expected, PATIENCE)
    heard = crowd.end(first + size.turns)
    if heard.lost or heard.repeated or heard.reordered:
        raise Failure(
            f"of {expected} events {heard.lost} were lost, {heard.repeated} repeated, {heard.reordered} out of order",
            advice=f"look into the logs beside {emitter.log}; figures of such a run mean nothing, so there are none",
        )
    return seconds, heard


def _have_heard(crowd: Crowd, number: int, expected: int) -> bool:
    return crowd.have_heard(number) >= expected


def _emit(crowd: Crowd, emitter: Instance, **asked: int) -> float:
    """Have events emitted and hear what comes meanwhile; returns the seconds that emitting took."""
    longest = 2 * asked["count"] / asked["rate"] + PATIENCE
    with ThreadPoolExecutor(1) as other:
        answer = other.submit(ask, emitter, "emit", seconds=longest, **asked)
        crowd.listen(answer.done, longest)
        return float(answer.result()["seconds"])


def _settle(crowd: Crowd, instance: Instance) -> None:
    """Wait until an instance has given back what it does not need; clients go on answering meanwhile."""
    crowd.listen(lambda: False, SETTLE)
    # Twice: what finalizers let go of in the first collection goes in the second.
    for _ in range(2):
        ask(instance, "settle")
    crowd.listen(lambda: False, SETTLE)


def _clocks(fleet: Fleet, groups: Mapping[str, list[Instance]]) -> dict[str, int]:
    clocks = {name: all_cpu_ns(one.pid for one in instances) for name, instances in groups.items()}
    return {"Redis": cpu_ns(fleet.redis_pid), **clocks}


def _since(before: Mapping[str, int], now: Mapping[str, int]) -> dict[str, int]:
    return {name: now[name] - before[name] for name in now}


def _while(clock: Callable[[], dict[str, int]], work: Callable[[], object]) -> tuple[dict[str, int], float]:
    """The processor time of each group while something is done, and the seconds that it took."""
    before, began = clock(), monotonic()
    work()
    return _since(before, clock()), monotonic() - began
