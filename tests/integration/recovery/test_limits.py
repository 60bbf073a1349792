"""What a session is not kept for: an access token that ran out, and a client that never answers."""

from __future__ import annotations

import time

import jwt
import pytest

from tests.servers import wait_until


class Kept:
    """When a client was known to hear last, as its session in Redis has it."""

    def __init__(self, redis_server, client) -> None:
        self._redis = redis_server
        self._key = f"hecto:socket:{client.connection['pid']}"

    @property
    def heard(self) -> int:
        return int(self._redis.ask("HGET", self._key, "heard"))

    @heard.setter
    def heard(self, moment: int) -> None:
        self._redis.ask("HSET", self._key, "heard", str(moment))


@pytest.fixture
def kept(redis_server, client):
    return Kept(redis_server, client)


def test_a_socket_ends_with_its_access_token_and_goes_on_with_the_next_one(fleet, client, member, token, room):
    ends = jwt.decode(token, options={"verify_signature": False})["exp"]
    assert fleet.ask(0, "until", sid=client.id).json() == {"until": ends}
    fleet.count(room, 1)
    client.hears([1])
    assert fleet.ask(0, "run_out", sid=client.id).ok
    client.wait_for("disconnect", seconds=10)
    fleet.count(room, 2)
    renewed = member.post("/api/auth/refresh", json={"refresh_token": member.refresh_token})
    assert renewed.status_code == 200, renewed.text
    client.come_back(token=renewed.json()["access_token"])
    assert client.recovered
    client.hears([1, 2])


def test_a_client_that_comes_back_again_and_again_without_an_answer_is_not_told_that_nothing_is_missing(
    fleet, client, kept, room
):
    fleet.count(room, 1)
    client.hears([1])
    client.leave()
    assert kept.heard >= time.time() - 60
    # As after four minutes of connections that broke before anything came through: the events may be gone by then.
    kept.heard = int(time.time()) - 241
    client.come_back()
    assert not client.recovered


def test_a_word_that_somebody_is_there_is_not_said_for_who_has_not_answered(fleet, client, kept, room):
    fleet.count(room, 1)
    client.hears([1])
    client.leave()
    client.come_back()
    assert client.recovered
    kept.heard = 1
    # It is connected, and has not been pinged yet.
    assert fleet.ask(0, "keep").ok
    assert kept.heard == 1
    assert fleet.ask(0, "ping", sid=client.id).ok
    wait_until(
        lambda: fleet.ask(0, "keep").ok and kept.heard >= time.time() - 60,
        "the word of a client that answered",
        seconds=5,
    )
