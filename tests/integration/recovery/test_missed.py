"""What a client that was away hears: all that it would have heard, once, in order, and nothing else."""

from __future__ import annotations

import base64
import itertools
import signal
import uuid

import pytest

from tests.integration.recovery.clients import BY_TRANSPORT

# What the stream of a room keeps is about a thousand events.
MORE_THAN_KEPT = 1500


@pytest.fixture
def other_room():
    return f"stage:{uuid.uuid4()}"


def test_events_of_all_rooms_are_heard_in_the_order_in_which_they_were_sent(fleet, client, room, other_room):
    fleet.enter(client.id, other_room)
    fleet.count(room, 1)
    client.hears([1])
    client.leave()
    for number, where in enumerate(itertools.islice(itertools.cycle((room, other_room)), 20), 2):
        fleet.count(where, number, at=number % 2)
    client.come_back()
    assert client.recovered
    client.hears(list(range(1, 22)))
    offsets = [arguments[-1] for arguments in client.events()]
    assert len(set(offsets)) == 21


def test_rooms_that_it_is_not_in_are_not_heard(fleet, client, room, other_room):
    fleet.enter(client.id, "stage:left")
    fleet.leave(client.id, "stage:left")
    fleet.count(room, 1)
    client.hears([1])
    client.leave()
    fleet.count(other_room, 2)
    fleet.count("stage:left", 3)
    fleet.count(room, 4)
    client.come_back()
    assert client.recovered
    client.hears([1, 4])


def test_what_was_said_in_a_room_before_it_came_is_not_heard(fleet, client, room, other_room):
    fleet.count(room, 1)
    client.hears([1])
    fleet.count(other_room, 2)
    fleet.enter(client.id, other_room)
    client.leave()
    fleet.count(other_room, 3)
    client.come_back()
    assert client.recovered
    client.hears([1, 3])


def test_a_client_that_has_heard_nothing_yet_misses_nothing(fleet, client, room):
    fleet.count("stage:elsewhere", 0)
    before = client.connection
    client.leave()
    fleet.count(room, 1, 2)
    client.come_back()
    assert client.connection == {**before, "recovered": True}
    client.hears([1, 2])


def test_what_has_been_heard_is_not_heard_again(fleet, client, room):
    fleet.count(room, 1)
    client.hears([1])
    client.leave()
    fleet.count(room, 2, 3)
    client.come_back()
    client.hears([1, 2, 3])
    for number in range(4, 8):
        client.leave()
        client.come_back()
        assert client.recovered
        fleet.count(room, number)
        client.hears(list(range(1, number + 1)))


def test_a_client_that_was_idle_for_long_misses_nothing(fleet, client, room, other_room):
    """What it heard last is far behind: the others have had so many events that its own are not looked up any more."""
    fleet.count(room, 1)
    client.hears([1])
    fleet.count(other_room, *range(MORE_THAN_KEPT))
    client.leave()
    fleet.count(other_room, *range(MORE_THAN_KEPT))
    fleet.count(room, 2)
    client.come_back()
    assert client.recovered
    client.hears([1, 2])


def test_hundreds_of_events_are_heard_again(fleet, client, room):
    fleet.count(room, 0)
    client.hears([0])
    client.leave()
    fleet.count(room, *range(1, 800))
    client.come_back()
    assert client.recovered
    client.hears(list(range(800)))


def test_more_events_than_are_kept_are_not_passed_over_in_silence(fleet, client, room):
    fleet.count(room, 1)
    client.hears([1])
    before = client.connection
    client.leave()
    fleet.count(room, *range(2, MORE_THAN_KEPT))
    client.come_back()
    assert not client.recovered
    assert client.id != before["id"]
    fleet.count(room, MORE_THAN_KEPT)
    client.hears([1, MORE_THAN_KEPT])


def test_too_much_over_several_rooms_is_told_as_lost(fleet, client, room):
    """What one client missed must not keep Redis from everybody else: each room alone would be told whole."""
    halls = [f"hall:{number}" for number in range(5)]
    for hall in halls:
        fleet.enter(client.id, hall)
    fleet.count(room, 1)
    client.hears([1])
    client.leave()
    for hall in halls:
        fleet.count(hall, *range(900))
    client.come_back()
    assert not client.recovered


@BY_TRANSPORT
def test_megabytes_that_were_missed_are_heard_or_told_as_lost(fleet, edge, clients, token, room, transports):
    """They are more than an instance keeps for a client that does not read: each attempt must not end like the last."""
    client = clients.connected(edge.url, token, *transports, reconnection=True)
    fleet.count(room, 0)
    client.hears([0])
    client.do("hold")
    client.wait_for("disconnect")
    for first in range(1, 900, 100):
        fleet.count(room, *range(first, first + 100), size=4000)
    client.do("reconnect", url=edge.url)
    client.wait_for("connect", 2)
    fleet.count(room, 901)
    client.hears(list(range(902)) if client.recovered else [0, 901])


def test_a_client_that_reads_too_slowly_is_cut_off_and_misses_nothing(fleet, clients, connect, room):
    client = connect(reconnection=True)
    sid, sent = client.id, 0
    clients.process.send_signal(signal.SIGSTOP)
    try:
        # The kernel takes some megabytes for a client that does not read.
        while fleet.holds(0, sid) and sent < 950:
            fleet.count(room, *range(sent, sent + 10), size=20_000)
            sent += 10
        assert not fleet.holds(0, sid)
    finally:
        clients.process.send_signal(signal.SIGCONT)
    client.wait_for("connect", 2)
    assert client.recovered
    client.hears(list(range(sent)))


def attached(client) -> list[bytes]:
    """What came as bytes; Node writes a buffer as a list of numbers."""
    return [bytes(arguments[0]["attachment"]["data"]) for arguments in client.events("attached")]


@pytest.mark.parametrize("transport", ["websocket", "polling"])
def test_bytes_are_heard_as_bytes_and_heard_again(fleet, connect, room, transport):
    contents = [bytes(range(256)), b"", base64.b64decode("//79") * 1000]
    client = connect(transport)
    fleet.attach(room, contents[0])
    client.wait_for("event")
    client.leave()
    fleet.count(room, 1)
    fleet.attach(room, contents[1])
    fleet.attach(room, contents[2])
    fleet.count(room, 2)
    client.come_back()
    assert client.recovered
    client.hears([1, 2])
    assert attached(client) == contents
    assert all(isinstance(arguments[-1], str) for arguments in client.events("attached"))
