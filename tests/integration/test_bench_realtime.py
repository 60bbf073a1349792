"""The clients of the benchmark of real-time servers hear everything, and notice what they do not hear."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bench.realtime.client import Crowd, Heard, Seat, percentile
from bench.realtime.fleets import Instance, ask
from bench.realtime.measure import Size, emission, warm_up
from bench.realtime.processes import cpu_ns, memory
from bench.writes import children
from control.progress import Failure
from tests.integration.conftest import Client
from tests.servers import REPOSITORY, AppInstance, Site

ROOMS, MEMBERS = 5, 20


@pytest.fixture(scope="module")
def rooms(site: Site) -> Iterator[Instance]:
    """An instance that lets clients into rooms, and emits to them when it is asked to."""
    environment = {"PYTHONPATH": f"{REPOSITORY / 'app'}:{REPOSITORY}", "HECTO_REQUESTS_PER_MINUTE": "100000"}
    found = AppInstance(site, app="bench.realtime.hecto_app:app", **environment)
    yield Instance(site.run / f"{found.number}.sock", children(found.process.pid)[0], found.log)
    found.stop()


@pytest.fixture
def seats(rooms: Instance, admin: Client) -> list[Seat]:
    token = str(admin.headers["Authorization"]).removeprefix("Bearer ")
    return [Seat(rooms.path, token, room) for room in range(ROOMS) for _ in range(MEMBERS)]


def test_a_hundred_clients_hear_every_event_once(rooms: Instance, seats: list[Seat]) -> None:
    size = Size(rooms=ROOMS, members=MEMBERS, rate=50, seconds=2)
    with Crowd() as crowd:
        crowd.connect(seats)
        first = warm_up(crowd, rooms, ROOMS, len(seats))
        before = cpu_ns(rooms.pid)
        seconds, heard = emission(crowd, rooms, size, first, len(seats))
        assert cpu_ns(rooms.pid) > before
    assert heard.events == len(heard.latencies) == 100 * MEMBERS
    assert 1.9 < seconds < 10
    assert 0 < percentile(heard.latencies, 0.5) <= percentile(heard.latencies, 0.99) < 10 * 10**9
    held = memory(rooms.pid)
    assert 0 < held.private <= held.pss <= held.rss


def test_events_that_are_missing_end_the_run(rooms: Instance, seats: list[Seat]) -> None:
    size = Size(rooms=ROOMS, members=MEMBERS, rate=50, seconds=1)
    with Crowd() as crowd:
        # Nobody emits to the room of the last one.
        crowd.connect([*seats, Seat(rooms.path, seats[0].token, ROOMS)])
        first = warm_up(crowd, rooms, ROOMS, len(seats))
        with pytest.raises(Failure, match=f"{size.turns} were lost, 0 repeated, 0 out of order"):
            emission(crowd, rooms, size, first, len(seats))


def test_a_client_counts_gaps_repeats_and_what_comes_late(seats: list[Seat]) -> None:
    with Crowd() as crowd:
        crowd.connect(seats[:1])
        (peer,) = crowd._peers.values()
        heard = Heard()
        for number in (0, 1, 4, 2, 4, 5):
            peer.count(heard, number)
    assert (heard.reordered, heard.repeated, peer.missing, peer.next) == (1, 1, {3}, 6)


def test_a_client_that_is_refused_ends_the_run(rooms: Instance) -> None:
    with Crowd() as crowd, pytest.raises(Failure, match="refused a client"):
        crowd.connect([Seat(rooms.path, "no token")])


def test_the_instance_says_when_it_has_settled(rooms: Instance) -> None:
    assert ask(rooms, "settle") == {}
