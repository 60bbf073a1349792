"""Whoever has no right to a session does not get it, and what no client would send does no harm."""

from __future__ import annotations

import json

import pytest
import requests

from tests.integration.recovery.wire import Polling, said
from tests.servers import wait_until


@pytest.fixture
def other_token(fleet) -> str:
    return str(fleet.member().headers["Authorization"])[7:]


def stolen(client) -> dict[str, str]:
    """What somebody who looked over the client's shoulder could send."""
    return {"pid": client.connection["pid"], "offset": client.events()[-1][-1]}


@pytest.mark.parametrize("at", [0, 1], ids=["at its instance", "at the other instance"])
def test_somebody_elses_pid_opens_no_session_and_does_its_owner_no_harm(fleet, clients, client, room, other_token, at):
    fleet.count(room, 1)
    client.hears([1])
    session = client.connection
    thief = clients.connected(fleet.urls[at], other_token, **stolen(client))
    assert thief.id != client.id
    assert thief.connection["pid"] != session["pid"]
    assert room not in fleet.rooms(thief.id)
    fleet.count(room, 2)
    client.hears([1, 2])
    assert not client.all("disconnect")
    client.leave()
    fleet.count(room, 3)
    client.come_back()
    assert client.connection == {**session, "recovered": True}
    client.hears([1, 2, 3])
    assert thief.heard() == []


def test_somebody_elses_pid_does_its_owner_no_harm_who_is_away(fleet, clients, client, room, other_token):
    fleet.count(room, 1)
    client.hears([1])
    taken = stolen(client)
    client.leave()
    fleet.count(room, 2)
    thief = clients.connected(fleet.urls[1], other_token, **taken)
    assert thief.connection["pid"] != taken["pid"]
    client.come_back()
    assert client.recovered
    client.hears([1, 2])
    assert thief.heard() == []


def test_a_sign_in_that_ended_meanwhile_recovers_nothing(fleet, client, member, room):
    fleet.count(room, 1)
    client.hears([1])
    client.leave()
    fleet.count(room, 2)
    assert member.post("/api/auth/logout").status_code == 204
    answer = client.come_back()
    assert (answer["what"], answer.get("refused")) == ("connect_error", True)
    assert client.heard() == [1]


def test_a_token_that_was_renewed_meanwhile_is_as_good_as_the_one_before(fleet, client, member, room):
    fleet.count(room, 1)
    client.hears([1])
    client.leave()
    fleet.count(room, 2)
    renewed = member.post("/api/auth/refresh", json={"refresh_token": member.refresh_token})
    assert renewed.status_code == 200, renewed.text
    client.come_back(token=renewed.json()["access_token"])
    assert client.recovered
    client.hears([1, 2])


def test_whoever_comes_back_with_another_sign_in_goes_with_that_one(fleet, client, member):
    client.leave()
    again = fleet.sign_in(member)
    client.come_back(token=str(again.headers["Authorization"])[7:])
    assert again.post("/api/auth/logout").status_code == 204
    assert client.wait_for("disconnect", 2)["reason"] == "io server disconnect"


def test_a_recovered_connection_ends_with_its_sign_in(fleet, client, member):
    client.leave()
    client.come_back(fleet.urls[1])
    assert client.recovered
    assert member.post("/api/auth/logout").status_code == 204
    assert client.wait_for("disconnect", 2)["reason"] == "io server disconnect"


def test_what_a_person_may_see_no_more_is_not_heard_afterwards(fleet, client, member):
    everybody = "list:tasks"
    fleet.count(everybody, 1)
    client.hears([1])
    assert everybody in fleet.rooms(client.id)
    client.leave()
    user = fleet.admin.get(f"/api/users/{member.user_id}").json()
    change = {"version": user["version"], "roles": []}
    assert fleet.admin.patch(f"/api/users/{member.user_id}", json=change).status_code == 200
    fleet.count(everybody, 2)
    client.come_back()
    fleet.count(everybody, 3)
    fleet.count(f"user:{member.user_id}", 4)
    wait_until(lambda: 4 in client.heard(), "what it may hear", seconds=10)
    assert client.heard() == [1, 4]
    assert everybody not in fleet.rooms(client.id)


def test_a_sign_in_that_changed_ends_the_session_of_who_is_there(fleet, client, member, room):
    fleet.count(room, 1)
    client.hears([1])
    before = client.connection
    user = fleet.admin.get(f"/api/users/{member.user_id}").json()
    change = {"version": user["version"], "roles": []}
    assert fleet.admin.patch(f"/api/users/{member.user_id}", json=change).status_code == 200
    assert client.wait_for("disconnect")["reason"] == "io server disconnect"
    client.come_back()
    assert not client.recovered
    assert client.id != before["id"]
    assert "list:tasks" not in fleet.rooms(client.id)


STRANGE = {
    "a number": 5,
    "a fraction": 1e300,
    "below zero": -1,
    "true": True,
    "a list": ["x"],
    "a list of lists": [[[[]]]],
    "an object": {"pid": "x"},
    "nothing": "",
    "a zero byte": "\0",
    "control characters": "".join(map(chr, range(32))),
    "line breaks": "1\r\nDEL x\r\n",
    "half a pair": "\ud800",
    "a pattern": "*",
    "a key": "hecto:*",
    "a long text": "x" * 50_000,
    "more than a message holds": "x" * 200_000,
    "many dashes": "-" * 1000,
    "a huge number": "1-" + "9" * 4000,
}


def outcome(url: str, auth: dict[str, object]) -> str:
    """How a CONNECT ends: the packet that answers it, "closed" or "silence"."""
    polling = Polling(url)
    if polling.post("40" + json.dumps(auth)) != 200:
        return "closed"
    try:
        return polling.until("4")[-1]
    except AssertionError:
        return "closed"
    except requests.Timeout:
        return "silence"


def is_fresh_or_refused(answer: str, session: dict[str, str]) -> bool:
    if answer.startswith("40"):
        return said(answer)["sid"] != session["sid"] and said(answer)["pid"] != session["pid"]
    return answer == "closed" or answer.startswith("44")


@pytest.mark.parametrize("strange", STRANGE.values(), ids=STRANGE.keys())
def test_strange_pids_and_offsets_open_nothing_and_break_nothing(fleet, token, room, strange):
    url = fleet.urls[0]
    polling = Polling(url)
    session = said(polling.connect(token=token)[-1])
    fleet.count(room, 1)
    offset = said(polling.until("42")[-1])[-1]
    polling.close()
    right = session["pid"]
    for pid, last in ((strange, None), (strange, offset), (strange, strange), (right, strange)):
        answer = outcome(url, {"token": token, "pid": pid, "offset": last})
        assert is_fresh_or_refused(answer, session), (pid, last, answer)
    assert outcome(url, {"token": token, "recovery": strange}).startswith(("40", "44", "closed"))
    assert said(outcome(url, {"token": token}))["sid"]
    assert requests.get(f"{url}/api/health", timeout=10).status_code == 200
