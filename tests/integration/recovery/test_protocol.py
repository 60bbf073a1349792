"""Connection state recovery as the protocol of Socket.IO says it, packet by packet and through the official client."""

from __future__ import annotations

import json
import re

import pytest

from tests.integration.recovery.wire import Polling, said


def test_what_was_missed_comes_before_the_answer_to_connect(fleet, token, room):
    first = Polling(fleet.urls[0])
    session = said(first.connect(token=token)[-1])
    fleet.enter(session["sid"], "stage:1")
    fleet.count(room, 1)
    offset = said(first.until("42")[-1])[2]
    first.close()
    fleet.count(room, 2)
    fleet.count("stage:1", 3)
    fleet.count("stage:2", 4)
    *missed, answer = Polling(fleet.urls[0]).connect(token=token, pid=session["pid"], offset=offset)
    assert [said(packet)[:2] for packet in missed] == [["number", {"n": 2}], ["number", {"n": 3}]]
    assert answer.startswith("40{")
    assert said(answer) == session


def test_an_offset_is_an_epoch_and_a_number_that_grows(fleet, client, room):
    fleet.count(room, *range(5))
    client.hears([0, 1, 2, 3, 4])
    offsets = [arguments[-1] for arguments in client.events()]
    assert all(re.fullmatch(r"[^-]+-\d+", offset) for offset in offsets), offsets
    epochs, numbers = zip(*(offset.split("-") for offset in offsets), strict=True)
    assert len(set(epochs)) == 1
    assert sorted({int(number) for number in numbers}) == [int(number) for number in numbers]


def test_the_client_has_its_id_and_its_rooms_again(fleet, client, room):
    before = client.connection
    fleet.enter(client.id, "stage:1")
    fleet.enter(client.id, "stage:2")
    fleet.count(room, 1)
    client.hears([1])
    rooms = fleet.rooms(client.id)
    assert {room, "stage:1", "stage:2"} < rooms
    client.leave()
    after = client.come_back()
    assert after == {**before, "recovered": True}
    assert fleet.rooms(client.id) == rooms
    fleet.count("stage:2", 2)
    client.hears([1, 2])


def test_what_was_missed_is_heard_before_connect(fleet, client, room):
    fleet.count(room, 1)
    client.hears([1])
    client.leave()
    fleet.count(room, 2, 3)
    client.come_back()
    assert [report["what"] for report in client.reports[-4:]] == ["disconnect", "event", "event", "connect"]


def test_a_connection_that_the_server_closes_is_recovered_by_the_client_alone(fleet, connect, room):
    client = connect(reconnection=True)
    fleet.count(room, 1)
    client.hears([1])
    fleet.close(client.id)
    assert client.wait_for("connect", 2)["recovered"]
    fleet.count(room, 2)
    client.hears([1, 2])


def test_a_connection_that_ends_without_a_word_is_recovered(fleet, connect, room):
    client = connect(reconnection=True)
    fleet.count(room, 1)
    client.hears([1])
    client.do("kill")
    assert client.wait_for("connect", 2)["recovered"]


def is_fresh(client, before) -> bool:
    now = client.connection
    return not now["recovered"] and now["id"] != before["id"] and now.get("pid") not in (None, before["pid"])


@pytest.mark.parametrize("more", [{}, {"offset": "bar"}], ids=["no offset", "an offset"])
def test_nobody_has_the_session_of_an_unknown_pid(fleet, token, more):
    (answer,) = Polling(fleet.urls[0]).connect(token=token, pid="foo", **more)
    assert said(answer)["pid"] != "foo"


def test_a_client_with_an_unknown_pid_hears_nothing_of_before(fleet, client, room):
    fleet.count(room, 1)
    client.hears([1])
    before = client.connection
    client.leave()
    fleet.count(room, 2)
    client.come_back(pid="foo")
    assert is_fresh(client, before)
    fleet.count(room, 3)
    client.hears([1, 3])


OFFSETS = {
    "another epoch": lambda right: "0" + right,
    "no number": lambda right: right.split("-")[0] + "-",
    "no epoch": lambda right: "-" + right.split("-")[1],
    "nothing": lambda right: "",
    "a word": lambda right: "bar",
    "below zero": lambda right: right.replace("-", "--"),
    "the future": lambda right: right.split("-")[0] + "-999999999999",
    "other digits": lambda right: right.split("-")[0] + "-²",
    "far too long": lambda right: right + "0" * 5000,
    "a range of Redis": lambda right: "(" + right,
}


@pytest.mark.parametrize("wrong", OFFSETS.values(), ids=OFFSETS.keys())
def test_a_wrong_offset_begins_a_new_session(fleet, client, room, wrong):
    fleet.count(room, 1)
    client.hears([1])
    before = client.connection
    client.leave()
    fleet.count(room, 2)
    client.come_back(offset=wrong(client.events()[-1][-1]))
    assert is_fresh(client, before)
    fleet.count(room, 3)
    client.hears([1, 3])


def test_who_does_without_recovery_gets_no_pid_and_no_offsets(fleet, connect, room):
    client = connect(recovery=False)
    fleet.count(room, 1)
    client.hears([1])
    assert "pid" not in client.connection
    assert client.events() == [[{"n": 1}]]
    before = client.id
    client.leave()
    fleet.count(room, 2)
    client.come_back()
    assert (client.recovered, client.id == before) == (False, False)
    fleet.count(room, 3)
    client.hears([1, 3])


def test_a_client_that_says_farewell_has_no_session_any_more(fleet, client, room):
    fleet.count(room, 1)
    client.hears([1])
    before = client.connection
    client.do("disconnect")
    client.wait_for("disconnect")
    client.come_back()
    assert is_fresh(client, before)


def test_a_pid_is_a_secret(connect):
    connections = [connect().connection for _ in range(5)]
    assert len({connection["pid"] for connection in connections}) == 5
    for connection in connections:
        assert len(connection["pid"]) >= 20
        # The id is for others to know: nothing may lead from it to the pid.
        assert connection["id"] not in connection["pid"]
        assert connection["pid"] not in connection["id"]


def test_one_packet_connects_once(fleet, token):
    """The answer to CONNECT holds what the protocol names, and nothing else."""
    (answer,) = Polling(fleet.urls[0]).connect(token=token)
    assert set(json.loads(answer[2:])) == {"sid", "pid"}
