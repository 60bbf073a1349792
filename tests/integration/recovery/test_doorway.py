"""What is said to somebody who is on his way in reaches him too: that his sign-in ended, that he is to leave, to go."""

from __future__ import annotations

import pytest

from hecto.core.live import DISCONNECT, LEAVE
from tests.servers import wait_until

# The two ways in: anew, and back.
BACK = pytest.mark.parametrize("back", [False, True], ids=["anew", "back"])


@pytest.fixture
def arrive(fleet, clients, token, room):
    """Somebody begins to connect to the first instance, and is kept at a door."""

    def begin(door: str, back: bool):
        client = None
        if back:
            client = clients.connected(fleet.urls[0], token)
            fleet.count(room, 1)
            client.hears([1])
            client.leave()
        assert fleet.ask(0, "shut", door=door).ok
        if client is None:
            client = clients.connect(fleet.urls[0], token)
        else:
            client.do("reconnect", url=fleet.urls[0])
        fleet.wait_at(door)
        return client

    yield begin
    assert fleet.ask(0, "unlock").ok


def is_out(fleet, client, connects: int) -> bool:
    """Whether a client is out again, or was never in, and no instance believes otherwise."""
    ended = client.all("disconnect")[connects:] or client.all("connect_error")
    return bool(ended) and not any(fleet.rooms(one["id"]) for one in client.all("connect"))


@BACK
@pytest.mark.parametrize("door", ["known", "heard"])
def test_a_sign_out_ends_whoever_is_on_his_way_in(fleet, member, arrive, door, back):
    client = arrive(door, back)
    before = len(client.all("disconnect"))
    assert member.post("/api/auth/logout").status_code == 204
    fleet.ask(0, "unlock")
    wait_until(lambda: is_out(fleet, client, before), "the end of the connection", seconds=10)
    answer = client.come_back()
    assert answer["what"] == "connect_error"


@pytest.mark.parametrize("door", ["heard"])
@BACK
def test_a_kick_ends_whoever_is_on_his_way_in(fleet, member, room, arrive, door, back):
    client = arrive(door, back)
    pid = client.connection["pid"] if back else None
    before = len(client.all("disconnect"))
    fleet.tell(room, DISCONNECT, {"user": member.user_id})
    fleet.count(room, 2, at=1)
    fleet.ask(0, "unlock")
    wait_until(lambda: is_out(fleet, client, before), "the end of the connection", seconds=10)
    client.come_back()
    assert client.connection["pid"] != pid
    assert not client.recovered


def test_who_was_told_to_leave_a_room_while_away_is_not_in_it_again(fleet, client, member, room):
    fleet.enter(client.id, "hall:1")
    fleet.count(room, 1)
    client.hears([1])
    client.leave()
    fleet.tell("hall:1", LEAVE, {"user": member.user_id})
    fleet.count("hall:1", 99, at=1)
    fleet.count(room, 2)
    client.come_back()
    assert client.recovered
    assert "hall:1" not in fleet.rooms(client.id)
    fleet.count("hall:1", 100, at=1)
    fleet.count(room, 3)
    # What was told in the room behind the word is not for him either.
    client.hears([1, 2, 3])
