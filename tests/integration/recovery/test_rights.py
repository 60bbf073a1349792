"""Rooms of records are asked for again when a client comes back: who may not see one any more does not hear of it."""

from __future__ import annotations

import pytest

from tests.integration.talk import create, say
from tests.servers import wait_until


@pytest.fixture
def task(member) -> int:
    return member.create_task()["id"]


@pytest.fixture
def channel(fleet, member) -> int:
    """A private channel of the administrator and the member."""
    return create(fleet.admin, member, private=True)


def enters(client, room: str) -> None:
    assert client.ask("join", room).get("room") == room


def loses_its_roles(fleet, member) -> None:
    user = fleet.admin.get(f"/api/users/{member.user_id}").json()
    change = {"version": user["version"], "roles": []}
    assert fleet.admin.patch(f"/api/users/{member.user_id}", json=change).status_code == 200


def is_deleted(fleet, task: int) -> None:
    answer = fleet.admin.delete(f"/api/tasks/{task}", params={"version": 1})
    assert answer.status_code == 204, answer.text


def is_taken_out(fleet, member, channel: int) -> None:
    answer = fleet.admin.delete(f"/api/channels/{channel}/members/{member.user_id}")
    assert answer.status_code in (200, 204), answer.text


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
def test_who_may_see_no_tasks_any_more_does_not_come_back_to_the_room_of_one(fleet, client, member, room, task, at):
    enters(client, f"task:{task}")
    fleet.count(f"task:{task}", 1)
    client.hears([1])
    client.leave()
    # Told while it was still allowed, and read when it is not any more.
    fleet.count(f"task:{task}", 2)
    loses_its_roles(fleet, member)
    fleet.count(f"task:{task}", 3)
    client.come_back(fleet.urls[at])
    assert client.recovered
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


@AT
def test_who_was_taken_out_of_a_private_channel_while_away_hears_nothing_of_it(
    fleet, client, member, room, channel, at
):
    enters(client, f"channel:{channel}")
    say(fleet.admin, channel, "for both")
    wait_until(lambda: texts(client) == ["for both"], "the message")
    client.leave()
    say(fleet.admin, channel, "said before")
    is_taken_out(fleet, member, channel)
    say(fleet.admin, channel, "said after")
    client.come_back(fleet.urls[at])
    assert client.recovered
    say(fleet.admin, channel, "said when it is back")
    fleet.count(room, 1)
    client.hears([1])
    assert texts(client) == ["for both"]
    heard = [report["event"] for report in client.all("event")]
    assert not [event for event in heard if event.startswith("!")]
    assert f"channel:{channel}" not in fleet.rooms(client.id)
    assert "error" in client.ask("join", f"channel:{channel}")


def test_a_room_that_was_not_come_back_to_stays_left_when_the_client_moves_on(fleet, client, member, room, channel):
    """It is taken out of the session, not only passed over once: a right that comes back brings nothing back."""
    enters(client, f"channel:{channel}")
    client.leave()
    is_taken_out(fleet, member, channel)
    client.come_back()
    assert client.recovered
    answer = fleet.admin.put(f"/api/channels/{channel}/members/{member.user_id}")
    assert answer.ok, answer.text
    client.leave()
    fleet.count(f"channel:{channel}", 1)
    client.come_back(fleet.urls[1])
    assert client.recovered
    fleet.count(room, 2)
    client.hears([2])


def test_whoever_is_made_a_member_while_away_may_join_afterwards(fleet, client, member, room):
    """A session opens no room by itself: what somebody may see since then is asked for."""
    channel = create(fleet.admin, private=True)
    assert "error" in client.ask("join", f"channel:{channel}")
    client.leave()
    answer = fleet.admin.put(f"/api/channels/{channel}/members/{member.user_id}")
    assert answer.ok, answer.text
    say(fleet.admin, channel, "not asked for yet")
    client.come_back()
    fleet.count(room, 1)
    client.hears([1])
    assert texts(client) == []
    enters(client, f"channel:{channel}")
    say(fleet.admin, channel, "for both")
    fleet.count(room, 2)
    client.hears([1, 2])
    assert texts(client) == ["for both"]
