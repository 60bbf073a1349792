"""Hundreds of clients that lose their connections in one moment, and come back in one moment."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.integration.recovery.fleet import Fleet
from tests.integration.recovery.wire import Wire
from tests.servers import wait_until

MANY = 500
# Connections to Redis and PostgreSQL that are opened when they are first needed, and stay.
SLACK = 10


@pytest.fixture(autouse=True)
def files_enough() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


class Crowd:
    """The clients, each with an instance that it is at; all do at once what they are told."""

    def __init__(self, fleet: Fleet, token: str) -> None:
        self._ports = [5000 + instance.number for instance in fleet.instances]
        self._everybody = [Wire(token) for _ in range(MANY)]
        self._many = ThreadPoolExecutor(50)

    def connect(self, turn: int = 0) -> list[bool]:
        """Everybody connects, a quarter at another instance than the turn before; says who has the session of before.

        In the first turn half of them are at each instance.
        """
        places = [(number + turn * (number % 4 < 2)) % 2 for number in range(MANY)]
        return list(self._many.map(lambda one, place: one.connect(self._ports[place]), self._everybody, places))

    def hear(self, number: int) -> list[list[int]]:
        return list(self._many.map(lambda one: one.hear(number), self._everybody))

    def drop(self) -> None:
        for one in self._everybody:
            one.drop()

    def stop(self) -> None:
        self.drop()
        self._many.shutdown()


@pytest.fixture
def crowd(fleet: Fleet, token: str) -> Iterator[Crowd]:
    found = Crowd(fleet, token)
    yield found
    found.stop()


def everything(fleet: Fleet) -> list[dict[str, int]]:
    return [fleet.held(number) for number in (0, 1)]


def is_back(fleet: Fleet, before: list[dict[str, int]]) -> bool:
    now = everything(fleet)
    return all(now[at][name] <= held[name] + SLACK for at, held in enumerate(before) for name in held)


@pytest.mark.timeout(240)
def test_a_storm_of_reconnects_is_recovered_to_the_last_client(fleet, crowd, room):
    before = everything(fleet)
    assert not any(crowd.connect())
    fleet.count(room, 0)
    assert crowd.hear(0) == [[0]] * MANY
    for turn in range(1, 4):
        crowd.drop()
        # Some instances know already that a client is gone, others do not.
        fleet.count(room, 2 * turn - 1, at=turn % 2)
        assert all(crowd.connect(turn)), "somebody was not recovered"
        fleet.count(room, 2 * turn)
        assert crowd.hear(2 * turn) == [list(range(2 * turn + 1))] * MANY
    assert sum(held["sessions"] for held in everything(fleet)) >= MANY
    crowd.drop()
    wait_until(lambda: is_back(fleet, before), f"what they held before, {before},", seconds=20)


@pytest.mark.timeout(240)
def test_events_go_on_while_everybody_comes_back(fleet, crowd, room):
    """Some are told before a client is back, some after, and some just then: each is heard once all the same."""
    crowd.connect()
    fleet.count(room, 0)
    crowd.hear(0)
    crowd.drop()
    with ThreadPoolExecutor(1) as teller:
        coming = teller.submit(crowd.connect, 1)
        last = 0
        while not coming.done():
            last += 1
            fleet.count(room, last, at=last % 2)
        assert all(coming.result()), "somebody was not recovered"
    fleet.count(room, last + 1)
    assert crowd.hear(last + 1) == [list(range(last + 2))] * MANY
