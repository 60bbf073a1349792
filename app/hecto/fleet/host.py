"""What every step of a run has in its hands."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from hecto.fleet.layout import Layout
from hecto.fleet.supervisor import Supervisor

Say = Callable[[str], None]


@dataclass(frozen=True)
class Patience:
    """How long a run waits, in seconds."""

    # A start of one batch: import of the app, connections, first request.
    ready: float = 120.0
    # Requests end within nginx's own limits long before.
    drain: float = 30.0
    # An instance that moves its WebSockets when it drains has done so by then; any other closes them when it stops.
    websockets: float = 5.0
    # How long a canary takes real traffic before others follow: at some requests a second it meets most pages.
    canary: float = 3.0


@dataclass(frozen=True)
class Host:
    """A host as a run sees it, and how the run speaks and waits."""

    layout: Layout
    supervisor: Supervisor
    patience: Patience
    say: Say

    def sockets(self, numbers: Iterable[int]) -> dict[int, Path]:
        """The control sockets of instances."""
        return {number: self.layout.control(number) for number in numbers}
