"""After a restore nothing that Redis or a sign-in remembers may contradict the database."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hecto import settings
from hecto.core.store import Store
from hecto.realtime.stream import begin
from tests.integration.conftest import Client
from tests.integration.test_checks import admin
from tests.servers import ADMIN_EMAIL, ADMIN_PASSWORD, AppInstance, Postgres, Redis, Site


@pytest.fixture
def own(directory: Path, postgres: Postgres) -> Site:
    """A site with a Redis that nobody else uses."""
    server = Redis(directory / "redis-restored")
    found = Site(directory, postgres, server, "restored")
    found.setup()
    yield found
    server.stop()


def test_nothing_is_left_of_another_time(own):
    instance = AppInstance(own)
    client = Client(instance).sign_in(ADMIN_EMAIL, ADMIN_PASSWORD)
    client.create_task("lost soon")
    assert client.get("/api/tasks").json()["items"]
    store = Store(settings.load(own.environment(1)))
    _, before = begin(store.client)
    assert int(own.redis.ask("DBSIZE")) > 0
    instance.stop()

    own.postgres.sql(own.database, "DELETE FROM task")  # the restored database never heard of it
    said = json.loads(admin(own, "after-restore").stdout)

    assert said["changed"] is True
    assert said["sign_ins_ended"] == 1
    assert said["redis_keys_forgotten"] > 0
    assert int(own.redis.ask("DBSIZE")) == 0
    # A client that comes back with an offset of the old epoch is told that something may have passed it by.
    assert begin(store.client)[1].epoch != before.epoch
    instance.start()
    try:
        assert client.get("/api/tasks").status_code == 401
        assert Client(instance).sign_in(ADMIN_EMAIL, ADMIN_PASSWORD).get("/api/tasks").json()["items"] == []
    finally:
        instance.stop()
