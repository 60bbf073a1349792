"""What becomes of events and sessions when Redis goes away: nothing is missing, or the client is told."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.recovery.fleet import Fleet
from tests.integration.recovery.load import Pump, verdict
from tests.servers import Postgres, Redis, Site, stop, wait_until

# As the role has it: every write is on disk within a second.
KEPT = ("--appendonly", "yes", "--appendfsync", "everysec")


@pytest.fixture(scope="module")
def redis(directory: Path) -> Iterator[Redis]:
    """A Redis of these tests' own, which keeps on disk what it knows."""
    found = Redis(directory / "kept-redis", *KEPT)
    yield found
    found.stop()


@pytest.fixture(scope="module")
def fleet(directory: Path, postgres: Postgres, redis: Redis) -> Iterator[Fleet]:
    site = Site(directory, postgres, redis, "recovery")
    site.setup()
    found = Fleet(site)
    yield found
    found.stop()


def is_well(fleet: Fleet) -> bool:
    return all(fleet.admin.get(f"{url}/api/health").json()["status"] == "OK" for url in fleet.urls)


def wait_until_well(fleet: Fleet) -> None:
    wait_until(lambda: is_well(fleet), "both instances", seconds=15)


def was_told(client) -> bool:
    """Whether the client knows that something may have passed it by."""
    return bool(client.events("missed")) or not all(one["recovered"] for one in client.all("connect")[1:])


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL], ids=["restarted", "killed"])
def test_a_restart_in_mid_stream_leaves_no_silent_hole(fleet, redis, connect, room, how):
    here, there = connect(reconnection=True), connect(at=1, reconnection=True)
    with Pump(fleet, room, rate=35) as pump:
        pump.go_on(20)
        stop(redis.process, how)
        redis.start()
        pump.go_on(40)
        wait_until_well(fleet)
        pump.go_on(10)
    # A number that was refused may have been heard all the same, and was then heard again.
    for client in (here, there):
        pump.heard_by(client)
        found = verdict(pump.sent, client.heard())
        assert not found.lost or was_told(client), found
        assert set(found.repeated) <= pump.uncertain
        assert not found.reordered, found


def test_a_client_that_is_away_while_redis_restarts_is_told_or_misses_nothing(fleet, redis, connect, room):
    client = connect()
    fleet.count(room, 1)
    client.hears([1])
    client.leave()
    fleet.count(room, 2)
    redis.stop()
    redis.start()
    wait_until_well(fleet)
    fleet.count(room, 3)
    client.come_back(fleet.urls[1])
    fleet.count(room, 4)
    client.hears([1, 2, 3, 4] if client.recovered else [1, 4])


def test_a_redis_that_forgot_everything_begins_a_new_epoch(fleet, redis, connect, room):
    """Its numbers begin anew: they must not be taken for those that clients have heard long ago."""
    client, elsewhere = connect(), connect(at=1, reconnection=True)
    fleet.count(room, *range(20))
    client.hears(list(range(20)))
    elsewhere.hears(list(range(20)))
    client.leave()
    redis.ask("FLUSHALL")
    redis.stop()
    redis.start()
    wait_until_well(fleet)
    client.come_back(fleet.urls[1])
    assert not client.recovered
    wait_until(lambda: was_told(elsewhere), "the word that something was missed", seconds=10)
    fleet.count(room, 20, at=0)
    fleet.count(room, 21, at=1)
    client.hears(list(range(22)))
    elsewhere.hears(list(range(22)))


def test_connections_that_redis_ends_lose_nothing(fleet, redis, connect, room):
    here, there = connect(), connect(at=1)
    with Pump(fleet, room, rate=100) as pump:
        for _ in range(3):
            pump.go_on(20)
            redis.ask("CLIENT", "KILL", "TYPE", "pubsub")
        wait_until_well(fleet)
        pump.go_on(20)
    for client in (here, there):
        pump.heard_by(client)
        assert verdict(pump.sent, client.heard()).flawless, verdict(pump.sent, client.heard())


def test_a_client_that_moves_while_its_instances_are_deaf_misses_nothing(fleet, redis, connect, room):
    client = connect(reconnection=True)
    with Pump(fleet, room, rate=100) as pump:
        for move in range(1, 5):
            pump.go_on(20)
            redis.ask("CLIENT", "KILL", "TYPE", "pubsub")
            client.do("setUrl", url=fleet.urls[move % 2])
            client.do("engineClose")
            client.wait_for("connect", move + 1)
        wait_until_well(fleet)
        pump.go_on(20)
    pump.heard_by(client)
    found = verdict(pump.sent, client.heard())
    assert not found.lost or was_told(client), found
    assert (found.repeated, found.reordered) == ((), ()), found


def test_without_redis_a_client_that_comes_back_is_in_and_is_told(fleet, redis, connect, room):
    client = connect()
    fleet.count(room, 1)
    client.hears([1])
    client.leave()
    fleet.count(room, 2)
    redis.stop()
    try:
        client.come_back()
        assert client.connection["id"]
    finally:
        redis.start()
    wait_until_well(fleet)
    wait_until(lambda: client.heard() == [1, 2] or was_told(client), "the missed event or a word", seconds=10)
    fleet.count(room, 3)
    wait_until(lambda: client.heard()[-1] == 3, "what comes after it", seconds=10)
