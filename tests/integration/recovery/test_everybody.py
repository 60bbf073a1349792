"""What is told to everybody, and what is told to all who are in a room: on both instances, in order, once."""

from __future__ import annotations

import itertools

import pytest

from tests.integration.recovery.clients import BY_TRANSPORT
from tests.servers import wait_until

EVERYBODY = "everybody"
MANY = 40


@pytest.fixture
def many(fleet, clients, token):
    """Clients of one person, half of them at each instance."""
    found = [clients.connect(url, token) for url, _ in zip(itertools.cycle(fleet.urls), range(MANY), strict=False)]
    for client in found:
        client.wait_for("connect")
    return found


@BY_TRANSPORT
@pytest.mark.parametrize("at", [0, 1], ids=["from its instance", "from the other instance"])
def test_what_everybody_is_told_reaches_who_was_away(fleet, connect, room, transports, at):
    client = connect(*transports)
    fleet.count(EVERYBODY, 1, at=at)
    client.hears([1])
    client.leave()
    for number, where in enumerate(itertools.islice(itertools.cycle((EVERYBODY, room)), 12), 2):
        fleet.count(where, number, at=at)
    client.come_back(fleet.urls[1])
    assert client.recovered
    client.hears(list(range(1, 14)))
    fleet.count(EVERYBODY, 14, at=at)
    client.hears(list(range(1, 15)))


def test_rooms_and_everybody_are_told_at_once_in_order(fleet, client, room):
    """In one command, as the outbox sends what one transaction had to say."""
    client.leave()
    told = [(where, "number", {"n": number}) for number, where in enumerate((EVERYBODY, room) * 10)]
    fleet.tell_all(*told)
    client.come_back()
    assert client.recovered
    client.hears(list(range(20)))


def test_everybody_is_everybody_on_both_instances(fleet, many, clients):
    strangers = [str(fleet.member().headers["Authorization"])[7:] for _ in range(2)]
    many += [clients.connected(url, token) for url, token in zip(fleet.urls, strangers, strict=True)]
    for number in range(10):
        fleet.count(EVERYBODY, number, at=number % 2)
    for client in many:
        client.hears(list(range(10)))


def ended(client) -> bool:
    return bool(client.all("disconnect"))


@pytest.mark.parametrize("at", [0, 1])
@pytest.mark.parametrize("together", [True, False], ids=["in one command", "one after the other"])
def test_what_is_sent_before_the_end_of_all_in_a_room_arrives_before_it(fleet, many, room, at, together):
    said, end = (room, "number", {"n": 1}), (room, "!disconnect", {})
    if together:
        fleet.tell_all(said, end, at=at)
    else:
        fleet.tell_all(said, at=at)
        fleet.tell_all(end, at=at)
    wait_until(lambda: all(map(ended, many)), "the end of all", seconds=10)
    for client in many:
        assert [report["what"] for report in client.reports] == ["connect", "event", "disconnect"]
        assert client.heard() == [1]
        assert client.all("disconnect")[0]["reason"] == "io server disconnect"
    wait_until(lambda: not any(fleet.rooms(client.id) for client in many), "them to be forgotten", seconds=5)


def test_what_is_sent_before_the_end_arrives_by_polling_as_well(fleet, clients, token, room):
    pollers = [clients.connected(url, token, "polling") for url in fleet.urls * 5]
    fleet.tell_all((room, "number", {"n": 1}), (room, "!disconnect", {}), (room, "number", {"n": 2}))
    wait_until(lambda: all(map(ended, pollers)), "the end of all", seconds=10)
    for client in pollers:
        assert [report["what"] for report in client.reports] == ["connect", "event", "disconnect"]


def test_whoever_was_sent_away_has_no_session_to_come_back_to(fleet, many, room):
    fleet.tell_all((room, "!disconnect", {}))
    wait_until(lambda: all(map(ended, many)), "the end of all", seconds=10)
    fleet.count(room, 1)
    for client in many[:6]:
        client.come_back()
        assert not client.recovered
        assert client.heard() == []


def test_all_in_a_room_are_moved_to_another_and_out_of_it(fleet, many, room):
    fleet.tell_all((room, "!join", {"room": "stage:moved"}), at=1)
    wait_until(lambda: all("stage:moved" in fleet.rooms(client.id) for client in many), "all of them", seconds=15)
    # Each hears what came before it leaves, and nothing of what comes after.
    fleet.tell_all(
        ("stage:moved", "number", {"n": 1}),
        ("stage:moved", "!leave", {}),
        ("stage:moved", "number", {"n": 2}),
        (room, "number", {"n": 3}),
    )
    for client in many:
        client.hears([1, 3])
        assert "stage:moved" not in fleet.rooms(client.id)
