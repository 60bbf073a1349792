"""Instances that die, leave or go on talking to somebody who is gone: their clients miss nothing."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest
import requests

from tests.integration.recovery.blackhole import BlackHole
from tests.integration.recovery.load import Pump, verdict
from tests.integration.recovery.wire import Polling, said
from tests.servers import wait_until


@pytest.fixture
def black_hole(fleet) -> Iterator[BlackHole]:
    found = BlackHole(5000 + fleet.instances[0].number)
    yield found
    found.stop()


def test_the_death_of_its_instance_costs_a_client_nothing(fleet, edge, clients, token, room):
    client = clients.connected(edge.url, token, reconnection=True)
    owner = 0 if fleet.holds(0, client.id) else 1
    survivor = 1 - owner
    with Pump(fleet, room, rate=35, at=(survivor,)) as pump:
        try:
            pump.go_on(10)
            fleet.kill(owner)
            assert client.wait_for("connect", 2)["recovered"]
            assert fleet.holds(survivor, client.id)
            pump.go_on(10)
        finally:
            fleet.instances[owner].start()
    pump.heard_by(client)
    assert verdict(pump.sent, client.heard()).flawless, verdict(pump.sent, client.heard())


def test_a_session_outlives_both_instances(fleet, connect, room):
    client = connect()
    fleet.count(room, 1)
    client.hears([1])
    for number in (0, 1):
        fleet.kill(number)
        fleet.instances[number].start()
    fleet.count(room, 2, at=1)
    client.come_back(fleet.urls[1])
    assert client.recovered
    client.hears([1, 2])


@pytest.mark.parametrize("at", [0, 1], ids=["at the same instance", "at the other instance"])
def test_a_client_comes_back_while_its_instance_believes_that_it_is_there(fleet, clients, black_hole, token, room, at):
    client = clients.connected(black_hole.url, token)
    fleet.count(room, 1)
    client.hears([1])
    sessions = fleet.held(0)["sessions"]
    black_hole.swallow()
    client.leave()
    fleet.count(room, 2, 3)
    assert fleet.holds(0, client.id)
    client.come_back(fleet.urls[at])
    assert client.recovered
    client.hears([1, 2, 3])
    # The one that nobody is at the other end of has made way; it would have been looked for in 45 seconds.
    gone = sessions - 1 + (at == 0)
    wait_until(lambda: fleet.held(0)["sessions"] <= gone, "the end of the old connection", seconds=5)
    assert [fleet.holds(number, client.id) for number in (0, 1)] == [at == 0, at == 1]
    fleet.count(room, 4)
    client.hears([1, 2, 3, 4])
    client.leave()
    fleet.count(room, 5)
    client.come_back(black_hole.url)
    assert client.recovered
    client.hears([1, 2, 3, 4, 5])


def test_the_end_of_an_old_connection_does_not_end_the_new_one(fleet, clients, black_hole, token, room):
    """The old instance closes what it takes for the client, after that has moved and has come back and has left."""
    client = clients.connected(black_hole.url, token)
    fleet.count(room, 1)
    client.hears([1])
    rooms = fleet.rooms(client.id)
    for number in range(2, 5):
        black_hole.swallow()
        client.leave()
        fleet.count(room, number)
        client.come_back(fleet.urls[1] if number % 2 == 0 else black_hole.url)
        assert client.recovered
        client.hears(list(range(1, number + 1)))
        wait_until(lambda: fleet.rooms(client.id) == rooms, "the rooms", seconds=5)


def how_it_goes(polling: Polling) -> str:
    """Whether a connection is told of what happens, is closed, or goes on without a word."""
    try:
        polling.until("42")
    except AssertionError:
        return "closed"
    except requests.Timeout:
        return "deaf"
    return "hears"


@pytest.mark.parametrize("places", [(0, 0, 0, 0), (0, 1, 0, 1)], ids=["at one instance", "at both"])
def test_of_many_that_take_a_session_up_at_once_one_has_it(fleet, token, room, places):
    """A client that loses its connection again and again has several on their way; no two and not none may be alive."""
    for _ in range(5):
        first = Polling(fleet.urls[0])
        session = said(first.connect(token=token)[-1])
        first.close()
        everybody = [Polling(fleet.urls[place]) for place in places]

        def take_up(polling: Polling, pid: str = session["pid"]) -> str | None:
            with suppress(AssertionError):
                return said(polling.connect(token=token, pid=pid)[-1])["sid"]

        with ThreadPoolExecutor() as pool:
            taken = list(pool.map(take_up, everybody))
            fleet.count(room, 1)
            outcomes = list(zip(taken, pool.map(how_it_goes, everybody), strict=True))
        assert "deaf" not in [outcome for _, outcome in outcomes], outcomes
        assert outcomes.count((session["sid"], "hears")) == 1, outcomes


def test_a_rolling_restart_loses_nothing_of_two_hundred_clients(fleet, edge, clients, token, room):
    everybody = [clients.connect(edge.url, token, reconnection=True) for _ in range(200)]
    for client in everybody:
        client.wait_for("connect", seconds=30)
    with Pump(fleet, room, rate=8) as pump:
        for number in (0, 1):
            pump.at = (1 - number,)
            # What was being sent through the instance has been sent.
            pump.go_on(2)
            fleet.instances[number].stop()
            fleet.instances[number].start()
    for client in everybody:
        pump.heard_by(client)
    # Who is told to look anew has lost nothing in silence, but a roll is no reason for it.
    fresh = [client.name for client in everybody if not all(one["recovered"] for one in client.all("connect")[1:])]
    assert not fresh
    flawed = {client.name: found for client in everybody if not (found := verdict(pump.sent, client.heard())).flawless}
    assert not flawed
    assert all(len(client.all("connect")) > 1 for client in everybody)
    assert not pump.uncertain
