"""Events that come all the time, and what became of them at a client."""

from __future__ import annotations

import itertools
import threading
import time
from collections import Counter
from dataclasses import dataclass

import requests

from tests.integration.recovery.clients import NodeClient
from tests.integration.recovery.fleet import Fleet
from tests.servers import wait_until


@dataclass(frozen=True)
class Verdict:
    """How what a client heard differs from what was sent."""

    lost: tuple[int, ...]
    repeated: tuple[int, ...]
    reordered: tuple[int, ...]

    @property
    def flawless(self) -> bool:
        return not (self.lost or self.repeated or self.reordered)


def verdict(sent: list[int], heard: list[int]) -> Verdict:
    """Compare; numbers were sent in ascending order."""
    times = Counter(heard)
    first_heard = list(times)
    return Verdict(
        lost=tuple(sorted(set(sent) - times.keys())),
        repeated=tuple(number for number in first_heard if times[number] > 1),
        reordered=tuple(later for earlier, later in itertools.pairwise(first_heard) if later < earlier),
    )


class Pump:
    """Counts in a room, so many numbers a second, until its block ends.

    A number that was refused is sent again: somebody may have heard it nevertheless, and it is one of `uncertain`.
    """

    def __init__(self, fleet: Fleet, room: str, rate: float, at: tuple[int, ...] = (0, 1)) -> None:
        self._fleet, self._room, self._pause = fleet, room, 1 / rate
        # The instances that send, in turn.
        self.at = at
        self.sent: list[int] = []
        self.uncertain: set[int] = set()
        # When each was sent last.
        self.began: dict[int, float] = {}
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Pump:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join(30)
        assert not self._thread.is_alive(), "an event is still on its way"

    def go_on(self, more: int, seconds: float = 20) -> None:
        """Wait until so many more numbers were sent."""
        goal = len(self.sent) + more
        wait_until(lambda: len(self.sent) >= goal, f"{more} more events", seconds=seconds)

    def heard_by(self, client: NodeClient, seconds: float = 15) -> None:
        """Wait until a client has heard the last number."""
        last = self.sent[-1]
        wait_until(lambda: last in client.heard(), f"the last of {last} events", seconds=seconds)

    def _run(self) -> None:
        number = 0
        began = time.monotonic()
        # By the clock and not by the answers: a slow one is made up for.
        while not self._over.wait(max(0, began + number * self._pause - time.monotonic())):
            if self._send(number):
                self.sent.append(number)
                number += 1
            else:
                self.uncertain.add(number)
                self._over.wait(self._pause)

    def _send(self, number: int) -> bool:
        message = {"room": self._room, "event": "number", "payload": {"n": number}}
        self.began[number] = time.monotonic()
        try:
            return self._fleet.ask(self.at[number % len(self.at)], "emit", messages=[message]).ok
        except requests.ConnectionError:
            return False
