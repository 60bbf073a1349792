"""The page of the system and the same as JSON: for administrators, with whatever answers."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time

import psycopg2
import pytest

from hecto.core import heartbeat
from tests.integration.conftest import ADMIN_EMAIL, ADMIN_PASSWORD, Browser, Client
from tests.servers import AppInstance, Postgres, Redis, Site, scratch, wait_until


@pytest.fixture(scope="module")
def own():
    """A site of its own, whose servers are stopped here."""
    directory = scratch()
    postgres, redis = Postgres(directory / "postgres"), Redis(directory / "redis")
    site = Site(directory, postgres, redis, "hecto_system")
    site.setup()
    found = AppInstance(site)
    yield found
    found.stop()
    redis.stop()
    postgres.stop()


@pytest.fixture(scope="module")
def administrator(own):
    return Client(own).sign_in(ADMIN_EMAIL, ADMIN_PASSWORD)


def look(client):
    answer = client.get("/api/system")
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_only_administrators_see_it(client, member, browser, admin, instance):
    assert client.get("/api/system").status_code == 401
    refused = member.get("/api/system")
    assert refused.status_code == 403
    assert "See how the system is doing" in refused.json()["detail"]
    assert browser.get(f"{instance.url}/system").status_code == 403
    assert 'href="/system"' not in browser.see("/")
    assert 'href="/system"' in Browser(instance, ADMIN_EMAIL, ADMIN_PASSWORD).see("/")


def test_it_tells_of_every_instance_and_of_what_they_use(admin, instances):
    names = {instance.name for instance in instances}

    def all_hear():
        return names <= {one["name"] for one in look(admin)["instances"] if one["listening"]}

    # The first word may be from before it heard the others.
    wait_until(all_hear, "the words of every instance")
    now = look(admin)
    (one,) = [one for one in now["instances"] if one["name"] == instances[0].name]
    assert (one["state"], one["deaf"], one["listening"], one["pool_size"]) == ("ready", False, True, 4)
    assert one["memory"] > 10_000_000
    assert now["totals"]["instances"] >= 2
    assert (now["database"]["state"], now["redis"]["state"], now["complete"]) == ("up", "up", True)
    assert now["database"]["size"] > 1_000_000
    assert now["database"]["revision"] >= "0005"
    assert now["backups"] == []


def test_the_answer_is_as_the_document_says(admin):
    document = admin.get("/api/openapi.json").json()
    described = document["paths"]["/api/system"]["get"]
    assert described["description"] == "Permission: `system.read`"
    schemas, now = document["components"]["schemas"], look(admin)
    assert set(schemas["SystemState"]["required"]) <= now.keys()
    for one in now["instances"]:
        assert one.keys() == schemas["InstanceState"]["properties"].keys()
    assert now["totals"].keys() == schemas["Totals"]["properties"].keys()


def test_what_people_wrote_is_not_shown(own, administrator):
    """The text of a session's statement has its values in it; only the shape of the statement is anybody's business."""
    holder = psycopg2.connect(
        host=str(own.site.postgres.directory),
        dbname=own.site.database,
        user="hecto_app",
        application_name="hecto instance-7",
    )
    try:
        holder.cursor().execute("SELECT 'a secret word'")
        now = look(administrator)
        assert now["database"]["transaction"]["who"] == "instance-7"
        assert "secret word" not in json.dumps(now)
        assert "secret word" not in Browser(own, ADMIN_EMAIL, ADMIN_PASSWORD).see("/system")
    finally:
        holder.close()


def test_it_costs_few_statements(own, administrator):
    """Counted by the server: the answer takes at most twelve, sign-in and all."""
    sql = own.site.postgres.sql
    sql("postgres", "ALTER DATABASE hecto_system SET log_statement = 'all'")
    # For connections that are made from now on.
    sql("postgres", "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'hecto_system'")
    log = own.site.postgres.directory / "log"
    wait_until(lambda: bool(look(administrator)) and "pg_stat_activity" in log.read_text(), "the setting")
    before = log.read_text().count("LOG:  statement:")
    look(administrator)
    asked = log.read_text().count("LOG:  statement:") - before
    sql("postgres", "ALTER DATABASE hecto_system RESET log_statement")
    assert 3 <= asked <= 12


def test_an_instance_that_ended_is_forgotten_and_one_that_left_at_once(own, administrator):
    other = AppInstance(own.site)
    try:
        wait_until(lambda: other.name in {one["name"] for one in look(administrator)["instances"]}, "its word")
        key = heartbeat.RECORD + own.site.redis.ask("ZREVRANGE", heartbeat.NAMES, "0", "0").strip()
        assert key.endswith(other.name)
        life = int(own.site.redis.ask("PTTL", key))
        assert 20_000 < life <= heartbeat.HOLDS * 1000
    finally:
        other.stop()
    assert other.name not in {one["name"] for one in look(administrator)["instances"]}


def test_among_several_hosts_it_has_the_name_that_the_inventory_gives(own, administrator):
    """Not what the machine calls itself: nginx, PostgreSQL and the logs know it by the other."""
    other = AppInstance(own.site, HECTO_HOST="erp-2")
    try:
        name = f"instance-{other.number}"

        def word():
            return [one for one in look(administrator)["instances"] if one["name"] == name]

        wait_until(word, "its word")
        (row,) = word()
        assert row["host"] == "erp-2"
        assert (
            Client(other).sign_in(ADMIN_EMAIL, ADMIN_PASSWORD).get("/api/system").json()["answered_by"]
            == f"erp-2/{name}"
        )
    finally:
        other.stop()


def test_it_shows_which_one_is_away(own, administrator):
    """Never an error, and never long: it is looked at when something is wrong."""
    browser = Browser(own, ADMIN_EMAIL, ADMIN_PASSWORD)
    own.site.postgres.stop()
    try:
        begun = time.monotonic()
        now = look(administrator)
        page = browser.see("/system")
        assert time.monotonic() - begun < 5
        assert (now["database"]["state"], now["redis"]["state"]) == ("down", "up")
        assert now["problems"][0]["what"].startswith("PostgreSQL does not answer")
        assert "PostgreSQL does not answer" in page
    finally:
        own.site.postgres.start()
    # A connection from before is no sign of the server's absence now.
    assert look(administrator)["database"]["state"] == "up"
    own.site.redis.stop()
    try:
        begun = time.monotonic()
        now = look(administrator)
        page = browser.see("/system")
        assert time.monotonic() - begun < 5
        assert (now["database"]["state"], now["redis"]["state"], now["complete"]) == ("up", "down", False)
        # Of the others nobody knows; the one that answers knows of itself.
        assert [one["name"] for one in now["instances"]] == [own.name]
        assert "Redis does not answer" in page
    finally:
        own.site.redis.start()


def test_a_server_that_hangs_is_shown_as_away_in_time(own, administrator):
    wait_until(lambda: look(administrator)["redis"]["state"] == "up", "Redis")
    pid = own.site.postgres.process.pid
    children = subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True, check=True)
    backends = [int(line) for line in children.stdout.split()]
    for one in backends:
        os.kill(one, signal.SIGSTOP)
    try:
        begun = time.monotonic()
        now = look(administrator)
        assert time.monotonic() - begun < 4
        assert (now["database"]["state"], now["database"]["why"]) == ("down", "no answer within 2 s")
    finally:
        for one in backends:
            os.kill(one, signal.SIGCONT)
    assert look(administrator)["database"]["state"] == "up"
