"""Waits for instances, with a deadline."""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from hecto.fleet.control import ControlError, Reply, ask_all
from hecto.fleet.layout import Layout

# Fine enough that a roll does not wait for nothing, coarse enough that a hundred polls cost no core.
INTERVAL = 0.1


@dataclass(frozen=True)
class Patience:
    """How long a run waits, in seconds."""

    # A start of one batch: import of the app, connections, first request.
    ready: float = 120.0
    # Requests end within nginx's own limits long before; WebSockets that have not moved by then are cut and reconnect.
    drain: float = 30.0


def until_ready(layout: Layout, numbers: Iterable[int], release: str | None, seconds: float) -> dict[int, str]:
    """Wait until each takes traffic, on this release unless any will do; what each late one says instead is returned."""
    return _until(layout, numbers, seconds, lambda reply: _not_ready(reply, release))


def until_idle(layout: Layout, numbers: Iterable[int], seconds: float) -> dict[int, str]:
    """Wait until none has requests or WebSockets left; the work of those that still have some is returned."""
    return _until(layout, numbers, seconds, _busy)


def _until(
    layout: Layout, numbers: Iterable[int], seconds: float, missing: Callable[[Reply | ControlError], str | None]
) -> dict[int, str]:
    deadline = time.monotonic() + seconds
    left = {number: layout.control(number) for number in numbers}
    while left:
        answers = ask_all(left)
        found = {number: text for number, reply in answers.items() if (text := missing(reply))}
        left = {number: path for number, path in left.items() if number in found}
        if not left or time.monotonic() > deadline:
            return found
        time.sleep(INTERVAL)
    return {}


def _not_ready(reply: Reply | ControlError, release: str | None) -> str | None:
    if isinstance(reply, ControlError):
        return f"control socket {reply}"
    if reply.state != "ready":
        return f"is {reply.state}"
    return None if release in (None, reply.release) else f"runs release {reply.release} instead of {release}"


def _busy(reply: Reply | ControlError) -> str | None:
    # An instance that does not listen has nothing left to lose.
    if isinstance(reply, ControlError) or reply.idle:
        return None
    return f"{reply.in_flight} requests and {reply.websockets} WebSockets"
