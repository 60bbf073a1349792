"""Waits for instances, with a deadline."""

import time
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from functools import partial

from hecto.fleet.control import ControlError, Reply, ask_all
from hecto.fleet.layout import Layout
from hecto.fleet.supervisor import ATTEMPTS, Supervisor, Unit

# Fine enough that a roll does not wait for nothing, coarse enough that a hundred polls cost no core.
INTERVAL = 0.05
# Between two looks at systemd, each of which costs tens of milliseconds of a core.
LOOK = 0.5
# Ends of a unit that lie further back, in seconds, say nothing about now.
RECENT = 60


@dataclass(frozen=True)
class Patience:
    """How long a run waits, in seconds."""

    # A start of one batch: import of the app, connections, first request.
    ready: float = 120.0
    # Requests end within nginx's own limits long before.
    drain: float = 30.0
    # An instance that moves its WebSockets when it drains has done so by then; any other closes them when it stops.
    websockets: float = 5.0
    # How long a canary is watched.
    watch: float = 3.0


def until_ready(
    layout: Layout,
    supervisor: Supervisor,
    numbers: Iterable[int],
    release: str | None,
    seconds: float,
    *,
    held: bool = False,
) -> dict[int, str]:
    """Wait until each takes traffic, on this release unless any will do; what each late one says instead is returned.

    With ``held`` an instance that is up and held will do as well; one from before there was such a state is ready.
    Does not wait for one that ends again and again: it will not be ready later either.
    """
    states = ("ready", "held") if held else ("ready",)
    return _until(layout, supervisor, numbers, seconds, lambda reply: _not_ready(reply, release, states))


def _until(
    layout: Layout,
    supervisor: Supervisor,
    numbers: Iterable[int],
    seconds: float,
    missing: Callable[[Reply | ControlError], str | None],
) -> dict[int, str]:
    begun = looked = time.monotonic()
    left = set(numbers)
    while True:
        late = _ask(layout, left, missing)
        left = set(late)
        if not left:
            return {}
        now = time.monotonic()
        if now - looked > LOOK or now - begun > seconds:
            looked = now
            units = supervisor.units().by_number
            ended = [n for n in left if n in units and _is_broken(units[n])]
            if ended or now - begun > seconds:
                return late | {n: f"ended {units[n].restarts + 1} times ({units[n].result})" for n in ended}
        time.sleep(INTERVAL)


def _is_broken(unit: Unit) -> bool:
    """Whether it ends again and again: now, and not at some time of its long life."""
    return unit.active == "failed" or (unit.restarts >= ATTEMPTS and time.time() - unit.started < RECENT)


def until_idle(layout: Layout, numbers: Iterable[int], patience: Patience) -> dict[int, str]:
    """Wait until none has requests left, and for a shorter time WebSockets; what busy ones still have is returned."""
    begun = time.monotonic()
    left = set(numbers)
    while True:
        waited = time.monotonic() - begun
        busy = _ask(layout, left, partial(_busy, websockets=waited < patience.websockets))
        left = set(busy)
        if not left or waited > patience.drain:
            return busy
        time.sleep(INTERVAL)


def _ask(
    layout: Layout, numbers: Iterable[int], missing: Callable[[Reply | ControlError], str | None]
) -> dict[int, str]:
    answers = ask_all({number: layout.control(number) for number in numbers})
    return {number: text for number, reply in answers.items() if (text := missing(reply))}


def _not_ready(reply: Reply | ControlError, release: str | None, wanted: Collection[str]) -> str | None:
    if isinstance(reply, ControlError):
        return f"control socket {reply}"
    if reply.state not in wanted:
        return f"is {reply.state}"
    return None if release in (None, reply.release) else f"runs release {reply.release} instead of {release}"


def _busy(reply: Reply | ControlError, *, websockets: bool) -> str | None:
    # An instance that does not listen has nothing left to lose.
    if isinstance(reply, ControlError) or not (reply.in_flight or (websockets and reply.websockets)):
        return None
    return f"has {reply.in_flight} requests"
