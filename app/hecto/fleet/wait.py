"""Waits for instances, with a deadline."""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial

from hecto.fleet.control import ControlError, Reply, ask_all
from hecto.fleet.layout import Layout
from hecto.fleet.supervisor import ATTEMPTS, Supervisor

# Fine enough that a roll does not wait for nothing, coarse enough that a hundred polls cost no core.
INTERVAL = 0.1


@dataclass(frozen=True)
class Patience:
    """How long a run waits, in seconds."""

    # A start of one batch: import of the app, connections, first request.
    ready: float = 120.0
    # Requests end within nginx's own limits long before.
    drain: float = 30.0
    # An instance that moves its WebSockets when it drains has done so by then; any other closes them when it stops.
    websockets: float = 5.0


def until_ready(
    layout: Layout, supervisor: Supervisor, numbers: Iterable[int], release: str | None, seconds: float
) -> dict[int, str]:
    """Wait until each takes traffic, on this release unless any will do; what each late one says instead is returned.

    Does not wait for one that ends again and again: it will not be ready later either.
    """
    deadline = time.monotonic() + seconds
    left = set(numbers)
    while True:
        late = _ask(layout, left, lambda reply: _not_ready(reply, release))
        left = set(late)
        if not left:
            return {}
        units = supervisor.units().by_number
        ended = [n for n in left if n in units and (units[n].restarts >= ATTEMPTS or units[n].active == "failed")]
        if ended or time.monotonic() > deadline:
            return late | {n: f"ended {units[n].restarts + 1} times ({units[n].result})" for n in ended}
        time.sleep(INTERVAL)


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


def _not_ready(reply: Reply | ControlError, release: str | None) -> str | None:
    if isinstance(reply, ControlError):
        return f"control socket {reply}"
    if reply.state != "ready":
        return f"is {reply.state}"
    return None if release in (None, reply.release) else f"runs release {reply.release} instead of {release}"


def _busy(reply: Reply | ControlError, *, websockets: bool) -> str | None:
    # An instance that does not listen has nothing left to lose.
    if isinstance(reply, ControlError) or not (reply.in_flight or (websockets and reply.websockets)):
        return None
    return f"has {reply.in_flight} requests"
