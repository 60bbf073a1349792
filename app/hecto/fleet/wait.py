"""Waits for instances, with a deadline."""

import time
from collections.abc import Callable, Collection, Iterable, Set

from hecto.fleet.control import ControlError, Reply, ask_all
from hecto.fleet.host import Host
from hecto.fleet.supervisor import ATTEMPTS

# Fine enough that a roll does not wait for nothing, coarse enough that a hundred polls cost no core.
INTERVAL = 0.05
# Between two looks at systemd, each of which costs tens of milliseconds of a core.
LOOK = 1.0

Answers = dict[int, Reply | ControlError]


def until_started(host: Host, numbers: Iterable[int], release: str) -> dict[int, str]:
    """Wait until each is up on this release and held; one from before there was such a state is ready at once.

    What each that does not get there says instead is returned. Does not wait for one that ends again and again, or that
    runs another release: it will not be different later.
    """
    return _until(host, numbers, release, ("held", "ready"))


def until_ready(
    host: Host, numbers: Iterable[int], release: str | None, *, fresh: bool = True, resume: bool = False
) -> dict[int, str]:
    """Wait, likewise, until each takes traffic, on this release unless any will do.

    Not `fresh` are those that this run has not started itself: what they went through before says nothing about now.
    With `resume`, one that is held is told to go on: what was said to a process that died did not reach its successor.
    """

    def nudge(answers: Answers) -> None:
        ask_all(host.sockets(_in_state("held", answers)), "resume")

    return _until(host, numbers, release, ("ready",), fresh=fresh, nudge=nudge if resume else None)


def until_idle(host: Host, numbers: Iterable[int]) -> dict[int, str]:
    """Wait until none has requests left, and for a shorter time WebSockets; what busy ones still have is returned."""
    begun = time.monotonic()
    left = set(numbers)
    while True:
        waited = time.monotonic() - begun
        answers = ask_all(host.sockets(left))
        busy = {n: text for n, reply in answers.items() if (text := _busy(reply, waited < host.patience.websockets))}
        left = set(busy)
        if not left or waited > host.patience.drain:
            return busy
        # One that was too busy to hear of the drain, or the successor of a process that died meanwhile.
        ask_all(host.sockets(_in_state("ready", answers)), "drain")
        time.sleep(INTERVAL)


def _until(
    host: Host,
    numbers: Iterable[int],
    release: str | None,
    states: Collection[str],
    *,
    fresh: bool = True,
    nudge: Callable[[Answers], None] | None = None,
) -> dict[int, str]:
    begun = looked = time.monotonic()
    left = set(numbers)
    given_up: dict[int, str] = {}
    restarts = dict.fromkeys(left, 0) if fresh else {}
    while True:
        answers = ask_all(host.sockets(left))
        late = {n: text for n, reply in answers.items() if (text := _missing(reply, release, states))}
        given_up |= {n: late[n] for n in late if _runs_another(answers[n], release)}
        now = time.monotonic()
        is_over = now - begun > host.patience.ready
        left = late.keys() - given_up.keys()
        if left and (is_over or now - looked > LOOK):
            looked = now
            given_up |= _ended(host, left, restarts)
            left = left - given_up.keys()
        if not left or is_over:
            return {n: late[n] for n in left} | given_up
        if nudge:
            nudge(answers)
        time.sleep(INTERVAL)


def _ended(host: Host, numbers: Set[int], before: dict[int, int]) -> dict[int, str]:
    """Those that end again and again; `before` is how often each had been restarted when the wait began."""
    units = host.supervisor.units().by_number
    found = {}
    for number in numbers & units.keys():
        unit = units[number]
        ends = unit.restarts - before.setdefault(number, unit.restarts)
        if unit.active == "failed" or ends >= ATTEMPTS:
            found[number] = f"ended {ends or 1} times ({unit.result})"
    return found


def _missing(reply: Reply | ControlError, release: str | None, states: Collection[str]) -> str | None:
    if isinstance(reply, ControlError):
        return f"control socket {reply}"
    if _runs_another(reply, release):
        return f"runs release {reply.release} instead of {release}"
    return None if reply.state in states else f"is {reply.state}"


def _runs_another(reply: Reply | ControlError, release: str | None) -> bool:
    return isinstance(reply, Reply) and release not in (None, reply.release)


def _in_state(state: str, answers: Answers) -> list[int]:
    return [number for number, reply in answers.items() if isinstance(reply, Reply) and reply.state == state]


def _busy(reply: Reply | ControlError, with_websockets: bool) -> str | None:
    # An instance that does not listen has nothing left to lose.
    if isinstance(reply, ControlError):
        return None
    is_busy = reply.state == "ready" or reply.in_flight or (with_websockets and reply.websockets)
    return f"has {reply.in_flight} requests" if is_busy else None
