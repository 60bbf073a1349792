"""hecto-fleet top at a real PostgreSQL and a real Redis, as they are, held up and away."""

from __future__ import annotations

import time

import pytest

from hecto.fleet.layout import Layout
from hecto.fleet.top import problems
from hecto.fleet.top.postgres import Postgres
from hecto.fleet.top.redis import Redis
from hecto.fleet.top.settings import Settings
from tests.servers import PASSWORD, Site, scratch, wait_until
from tests.servers import Postgres as PostgresServer
from tests.servers import Redis as RedisServer


@pytest.fixture(scope="module")
def servers():
    """Servers of its own: they are stopped here."""
    directory = scratch()
    postgres, redis = PostgresServer(directory / "postgres"), RedisServer(directory / "redis")
    yield postgres, redis
    postgres.stop()
    redis.stop()


@pytest.fixture(scope="module")
def made(servers):
    """A database as a site has it, with a table."""
    postgres, redis = servers
    site = Site(postgres.directory.parent, postgres, redis, "hecto_top")
    postgres.sql("hecto_top", "CREATE TABLE thing (id int PRIMARY KEY, note text); INSERT INTO thing VALUES (1, 'a')")
    return site


@pytest.fixture
def layout(made, tmp_path):
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    (secrets / "redis-password").write_text(PASSWORD + "\n")
    (secrets / "database-password").write_text(PASSWORD + "\n")
    return Layout(config=tmp_path)


def settings(made, *, here=True):
    where = str(made.postgres.directory)
    return Settings(here, where, 5432, made.database, "hecto_app", 4, str(made.redis.socket), "hecto")


@pytest.mark.parametrize("here", [True, False], ids=["as superuser", "as the application"])
def test_postgresql_tells_both_who_looks(made, layout, here):
    looker = Postgres(layout, settings(made, here=here), seldom=0.0)
    first = looker.look()
    assert (first["state"], first["replica"], first["transactions"], first["pool"]) == ("up", False, None, 4)
    for _ in range(20):
        made.postgres.sql("hecto_top", "SELECT * FROM thing")
    # The server counts what a session did when it ends, or a second later.
    wait_until(lambda: looker.look()["transactions"] > 0, "the transactions")
    now = looker.look()
    assert now["size"] > 1_000_000
    assert now["most_connections"] == made.postgres.connections
    assert 0 < now["hit_share"] <= 1


def test_who_waits_for_whom_is_seen(made, layout):
    looker = Postgres(layout, settings(made))
    holder, waiter = made.postgres.open("hecto_top"), made.postgres.open("hecto_top")
    try:
        holder.ask("SET application_name = 'hecto instance-7'; BEGIN; UPDATE thing SET note = 'held'; SELECT 1;")
        waiter.ask("SET application_name = 'hecto instance-8'; SELECT 1;")
        waiter._process.stdin.write("UPDATE thing SET note = 'x\x1b[2J';\n")
        waiter._process.stdin.flush()
        wait_until(lambda: looker.look()["waiters"] == 1, "the one that waits")
        now = looker.look()
        (waits,) = now["waiting"]
        assert (waits["who"], waits["text"]) == ("instance-8", "UPDATE thing SET note = 'x\x1b[2J';")
        assert [(one["who"], one["state"]) for one in waits["blocked_by"]] == [("instance-7", "idle in transaction")]
        assert now["transaction"]["who"] == "instance-7"
        assert {group["who"] for group in now["sessions"]} == {"instance-7", "instance-8"}
        time.sleep(problems.LOCK_SECONDS)
        found = [what for what, _ in problems.services(looker.look(), None)]
        assert found[0].startswith("instance-8 has waited 1")
        assert "for a lock of instance-7 (pid" in found[0]
    finally:
        holder.close()
        waiter.close()


def test_redis_is_asked_as_the_application(made, layout):
    looker = Redis(layout, settings(made))
    first = looker.look()
    assert (first["state"], first["role"], first["aof"]) == ("up", "primary", "off")
    for number in range(50):
        made.redis.ask("GET", f"nothing-{number}")
    now = looker.look()
    assert now["operations"] > 0
    assert now["memory"] > 0
    (layout.secrets / "redis-password").write_text("wrong")
    refused = Redis(layout, settings(made)).look()
    assert refused["state"] == "down"
    assert refused["why"].startswith("WRONGPASS")


def test_what_is_away_is_said_at_once_and_found_again(made, layout):
    postgres, redis = Postgres(layout, settings(made)), Redis(layout, settings(made))
    assert (postgres.look()["state"], redis.look()["state"]) == ("up", "up")
    made.postgres.stop()
    made.redis.stop()
    begun = time.monotonic()
    for _ in range(2):
        looks = [postgres.look(), redis.look()]
        assert [look["state"] for look in looks] == ["down", "down"]
    assert time.monotonic() - begun < 1
    # What is told is the reason, on one line.
    assert all("\n" not in look["why"] and len(look["why"]) < 100 for look in looks), looks
    made.postgres.start()
    made.redis.start()
    assert (postgres.look()["state"], redis.look()["state"]) == ("up", "up")
