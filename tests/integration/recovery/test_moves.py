"""Clients that come back at another instance than the one they left."""

from __future__ import annotations

import random

import pytest

from tests.integration.recovery.clients import BY_TRANSPORT
from tests.integration.recovery.load import Pump, verdict
from tests.servers import wait_until

# Each moves at other moments; more of them find what happens more rarely.
RUNS = range(1)
# Connections to Redis and the like that are opened when they are first needed, and stay.
SLACK = 10


@BY_TRANSPORT
def test_there_and_back_again(fleet, connect, room, transports):
    client = connect(*transports)
    session = client.id, client.connection["pid"]
    if len(transports) > 1:
        assert client.wait_for("upgrade")["transport"] == "websocket"
    for number, at in enumerate((1, 0, 1)):
        fleet.count(room, 3 * number)
        client.hears(list(range(3 * number + 1)))
        client.leave()
        fleet.count(room, 3 * number + 1, at=0)
        fleet.count(room, 3 * number + 2, at=1)
        client.come_back(fleet.urls[at])
        assert client.recovered
        client.hears(list(range(3 * number + 3)))
        assert (client.id, client.connection["pid"]) == session
        assert [fleet.holds(number, client.id) for number in (0, 1)] == [at == 0, at == 1]


@BY_TRANSPORT
def test_wherever_nginx_leads_it(fleet, edge, clients, token, room, transports):
    client = clients.connected(edge.url, token, *transports)
    for number in range(5):
        fleet.count(room, 2 * number)
        client.hears(list(range(2 * number + 1)))
        client.leave()
        fleet.count(room, 2 * number + 1)
        client.come_back()
        assert client.recovered
        client.hears(list(range(2 * number + 2)))


def test_an_event_during_the_move_is_heard_once(fleet, connect, room):
    """Both instances are told of it, and the client has left the one before it comes to the other."""
    client = connect(reconnection=True)
    with Pump(fleet, room, rate=200) as pump:
        for move in range(1, 4):
            pump.go_on(20)
            client.do("setUrl", url=fleet.urls[move % 2])
            client.do("engineClose")
            client.wait_for("connect", move + 1)
    pump.heard_by(client)
    assert verdict(pump.sent, client.heard()).flawless


def test_moves_leave_nothing_behind(fleet, connect, room):
    client = connect()
    held = [fleet.held(number) for number in (0, 1)]
    for move in range(1, 61):
        client.leave()
        client.come_back(fleet.urls[move % 2])
        assert client.recovered

    def is_back() -> bool:
        now = [fleet.held(number) for number in (0, 1)]
        return all(now[at][name] <= before[name] + SLACK for at, before in enumerate(held) for name in before)

    wait_until(is_back, f"what they hold, at first {held},", seconds=15)


@pytest.mark.parametrize("run", RUNS)
@BY_TRANSPORT
def test_twelve_moves_under_load_lose_and_repeat_nothing(fleet, connect, room, transports, run):
    chance = random.Random(run)
    client = connect(*transports, reconnection=True)
    ways = ["engineClose"] if "polling" in transports else ["engineClose", "kill"]
    with Pump(fleet, room, rate=35) as pump:
        for move in range(1, 13):
            pump.go_on(chance.randrange(1, 16))
            client.do("setUrl", url=fleet.urls[move % 2])
            client.do(chance.choice(ways))
            client.wait_for("connect", move + 1)
        pump.go_on(5)
    pump.heard_by(client)
    assert [report["recovered"] for report in client.all("connect")] == [False] + [True] * 12
    assert verdict(pump.sent, client.heard()).flawless, verdict(pump.sent, client.heard())
