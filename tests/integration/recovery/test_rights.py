"""Rooms of records are asked for again when a client comes back: who may not see one any more does not hear of it."""

from __future__ import annotations

import pytest

from tests.integration.talk import create, say
from tests.servers import wait_until


@pytest.fixture
def task(member) -> int:
    return member.create_task()["id"]


def enters(client, room: str) -> None:
    assert client.ask("join", room).get("room") == room


def loses_its_roles(fleet, member) -> None:
    user = fleet.admin.get(f"/api/users/{member.user_id}").json()
    change = {"version": user["version"], "roles": []}
    assert fleet.admin.patch(f"/api/users/{member.user_id}", json=change).status_code == 200


def is_deleted(fleet, task: int) -> None:
    answer = fleet.admin.delete(f"/api/tasks/{task}", params={"version": 1})
    assert answer.status_code == 204, answer.text


def is_taken_out(fleet, member, channel: Channel) -> None:
    answer = fleet.admin.delete(f"/api/channels/{channel.id}/members/{member.user_id}")
    assert answer.status_code == 204, answer.text


def is_let_in(fleet, member, channel: Channel) -> None:
    answer = fleet.admin.put(f"/api/channels/{channel.id}/members/{member.user_id}")
    assert answer.status_code == 204, answer.text


AT = pytest.mark.parametrize("at", [0, 1], ids=["at the same instance", "at the other instance"])


@AT
def test_who_may_still_see_a_record_comes_back_to_its_room(fleet, client, task, at):
    """What the tests below hold against: that the room is left out there is the work of the check."""
    enters(client, f"task:{task}")
    client.leave()
    fleet.count(f"task:{task}", 1)
    client.come_back(fleet.urls[at])
    assert client.recovered
    fleet.count(f"task:{task}", 2)
    client.hears([1, 2])


@AT
def test_who_may_see_no_tasks_any_more_does_not_come_back_to_the_room_of_one(fleet, connect, member, room, task, at):
    client = connect(reconnection=True)
    enters(client, f"task:{task}")
    fleet.count(f"task:{task}", 1)
    client.hears([1])
    client.do("hold")
    client.wait_for("disconnect")
    # Told while it was still allowed, and read when it is not any more.
    fleet.count(f"task:{task}", 2)
    loses_its_roles(fleet, member)
    fleet.count(f"task:{task}", 3)
    # Its session ends with the change, so it may take the client two attempts.
    client.do("reconnect", url=fleet.urls[at])
    client.wait_for("connect", 2)
    fleet.count(f"task:{task}", 4)
    fleet.count(room, 5)
    client.hears([1, 5])
    assert f"task:{task}" not in fleet.rooms(client.id)
    assert client.ask("join", f"task:{task}")["error"]["title"] == "There is no such room"


@AT
def test_the_room_of_a_record_that_is_gone_is_left_out_and_others_are_not(fleet, client, member, room, task, at):
    other = f"task:{member.create_task()['id']}"
    for name in (f"task:{task}", other):
        enters(client, name)
    before = client.connection
    client.leave()
    is_deleted(fleet, task)
    fleet.count(f"task:{task}", 1)
    fleet.count(other, 2)
    client.come_back(fleet.urls[at])
    assert client.connection == {**before, "recovered": True}
    fleet.count(f"task:{task}", 3)
    fleet.count(other, 4)
    fleet.count(room, 5)
    client.hears([2, 4, 5])
    rooms = fleet.rooms(client.id)
    assert f"task:{task}" not in rooms
    assert {other, room, "list:tasks"} <= rooms


def texts(client) -> list[str]:
    return [arguments[0]["text"] for arguments in client.events("message.created")]


class Channel:
    """A private channel of the administrator, who hears what is said there: it is told a moment after the answer."""

    def __init__(self, fleet, clients, *members) -> None:
        self._admin = fleet.admin
        self.id = create(fleet.admin, *members, private=True)
        self.room = f"channel:{self.id}"
        self._witness = clients.connected(fleet.urls[0], str(fleet.admin.headers["Authorization"])[7:])
        enters(self._witness, self.room)

    def say(self, text: str) -> None:
        """Say something; when this returns, whoever may hear it has been told."""
        say(self._admin, self.id, text)
        wait_until(lambda: text in texts(self._witness), "the message to be told", seconds=10)


@pytest.fixture
def channel(fleet, clients, member) -> Channel:
    """One that the member is in, too."""
    return Channel(fleet, clients, member)


@AT
def test_who_was_taken_out_of_a_private_channel_while_away_hears_nothing_of_it(
    fleet, client, member, room, channel, at
):
    enters(client, channel.room)
    channel.say("for both")
    wait_until(lambda: texts(client) == ["for both"], "the message", seconds=10)
    client.leave()
    channel.say("said before")
    is_taken_out(fleet, member, channel)
    channel.say("said after")
    client.come_back(fleet.urls[at])
    assert client.recovered
    channel.say("said when it is back")
    fleet.count(room, 1)
    client.hears([1])
    assert texts(client) == ["for both"]
    heard = [report["event"] for report in client.all("event")]
    assert not [event for event in heard if event.startswith("!")]
    assert channel.room not in fleet.rooms(client.id)
    assert "error" in client.ask("join", channel.room)


def test_a_room_that_was_not_come_back_to_stays_left_when_the_client_moves_on(fleet, client, member, room, channel):
    """It is taken out of the session, not only passed over once: a right that comes back brings nothing back."""
    enters(client, channel.room)
    client.leave()
    is_taken_out(fleet, member, channel)
    client.come_back()
    assert client.recovered
    is_let_in(fleet, member, channel)
    client.leave()
    fleet.count(channel.room, 1)
    client.come_back(fleet.urls[1])
    assert client.recovered
    fleet.count(room, 2)
    client.hears([2])


def test_whoever_is_made_a_member_while_away_may_join_afterwards(fleet, clients, client, member, room):
    """A session opens no room by itself: what somebody may see since then is asked for."""
    channel = Channel(fleet, clients)
    assert "error" in client.ask("join", channel.room)
    client.leave()
    is_let_in(fleet, member, channel)
    channel.say("not asked for yet")
    client.come_back()
    fleet.count(room, 1)
    client.hears([1])
    assert texts(client) == []
    enters(client, channel.room)
    channel.say("for both")
    fleet.count(room, 2)
    client.hears([1, 2])
    assert texts(client) == ["for both"]
