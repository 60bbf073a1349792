"""An instance as the fleet tool meets it: held, checked, drained, told to leave."""

from __future__ import annotations

import json
import os
import signal
import time

import pytest
import requests
import socketio

from tests.integration.conftest import Client
from tests.servers import REPOSITORY, AppInstance, ask, wait_until


def state(instance: AppInstance) -> dict:
    return json.loads(ask(instance.control, "GET", "/control/status")[1])


@pytest.fixture
def own(site):
    """An instance of this test's own."""
    found = AppInstance(site)
    yield found
    found.stop()


@pytest.fixture
def held(site):
    """An instance that was started as a roll starts it."""
    found = AppInstance(site, held=True)
    yield found
    found.stop()


def test_a_held_instance_answers_the_host_and_nobody_else(held):
    assert state(held)["state"] == "held"
    assert requests.get(f"{held.url}/api/openapi.json", timeout=10).status_code == 503
    refused = requests.get(f"{held.url}/api/me", timeout=10)
    assert refused.headers["Content-Type"] == "application/problem+json"
    assert (refused.json()["status"], refused.json()["state"], refused.headers["Retry-After"]) == (503, "held", "1")
    ready = requests.get(f"{held.url}/api/ready", timeout=10)
    assert (ready.json()["state"], ready.headers["Content-Type"]) == ("held", "application/json")
    assert ask(held.control, "GET", "/api/openapi.json")[0] == 200
    assert json.loads(ask(held.control, "GET", "/control/check")[1]) == {"ok": True, "failed": []}
    held.hold.unlink()
    assert json.loads(ask(held.control, "POST", "/control/resume")[1])["state"] == "ready"
    assert requests.get(f"{held.url}/api/openapi.json", timeout=10).status_code == 200


def test_a_worker_that_dies_while_held_comes_back_held(held):
    killed = state(held)["pid"]
    os.kill(killed, signal.SIGKILL)
    wait_until(lambda: state(held)["pid"] != killed, "the next worker")
    assert state(held)["state"] == "held"


def test_the_check_finds_a_page_that_fails_and_a_schema_that_is_too_old(own, sql):
    sql("ALTER TABLE task RENAME COLUMN title TO headline")
    try:
        status, body = ask(own.control, "GET", "/control/check")
        assert status == 500
        assert any(line.startswith("GET /api/tasks: 500") for line in json.loads(body)["failed"])
    finally:
        sql("ALTER TABLE task RENAME COLUMN headline TO title")
    head = sql("SELECT version_num FROM alembic_version")
    sql("UPDATE alembic_version SET version_num = '0001'")
    try:
        failed = json.loads(ask(own.control, "GET", "/control/check")[1])["failed"]
        assert failed[0].startswith("schema: the database lacks 0002")
    finally:
        sql(f"UPDATE alembic_version SET version_num = '{head}'")
    assert ask(own.control, "GET", "/control/check")[0] == 200


def test_the_check_finds_what_fails_around_the_views(site, tmp_path):
    """A release in which every request ends with an error before it gets to its view."""
    (tmp_path / "broken.py").write_text(
        "from hecto.wsgi import app\n@app.before_request\ndef fail():\n    raise RuntimeError('on purpose')\n"
    )
    broken = AppInstance(site, held=True, app="broken:app", PYTHONPATH=f"{REPOSITORY / 'app'}:{tmp_path}")
    try:
        status, body = ask(broken.control, "GET", "/control/check")
        assert status == 500
        assert "GET /: 500 INTERNAL SERVER ERROR" in json.loads(body)["failed"]
    finally:
        broken.stop()


def test_a_schema_from_the_future_is_fine(own, sql):
    head = sql("SELECT version_num FROM alembic_version")
    sql("UPDATE alembic_version SET version_num = '9999'")
    try:
        assert ask(own.control, "GET", "/control/check")[0] == 200
    finally:
        sql(f"UPDATE alembic_version SET version_num = '{head}'")


def test_errors_are_counted_and_what_lies_behind_is_not(own, sql, admin):
    user = admin.at(own)
    before = state(own)
    user.get("/api/me")
    user.get("/api/tasks/999999999")
    sql("ALTER TABLE activity ADD CONSTRAINT refuse CHECK (verb <> 'created') NOT VALID")
    try:
        assert user.post("/api/tasks", json={"title": "never"}).status_code == 500
    finally:
        sql("ALTER TABLE activity DROP CONSTRAINT refuse")
    after = state(own)
    assert (after["requests"] - before["requests"], after["errors"] - before["errors"]) == (3, 1)


def test_a_drain_moves_the_websockets(own, admin):
    user, ended, count = admin.at(own), [], 12
    clients = [socketio.Client(reconnection=False) for _ in range(count)]
    for client in clients:
        client.on("disconnect", lambda reason: ended.append(time.monotonic()))
        client.connect(
            own.url, transports=["websocket"], auth={"token": user.headers["Authorization"][7:], "recovery": False}
        )
    assert state(own)["websockets"] == count
    begun = time.monotonic()
    ask(own.control, "POST", "/control/drain")
    wait_until(lambda: state(own)["websockets"] == 0, "the move of the sockets", seconds=5)
    wait_until(lambda: len(ended) == count, "the clients to notice", seconds=5)
    # In waves: they do not all come back in one millisecond, and none waits longer than a second or so.
    assert max(ended) - min(ended) > 0.3
    assert max(ended) - begun < 3
    ask(own.control, "POST", "/control/resume")


def test_an_idle_instance_leaves_at_once(site):
    leaving = AppInstance(site)
    ask(leaving.control, "POST", "/control/drain")
    begun = time.monotonic()
    leaving.process.send_signal(signal.SIGTERM)
    leaving.process.wait(20)
    # gunicorn's own worker takes up to two seconds; what is left is the arbiter and the end of two processes.
    assert time.monotonic() - begun < 1


def test_a_client_of_the_site_has_no_part_in_this(instance):
    client = Client(instance)
    answer = client.get("/control/check", headers={"X-Request-ID": "one of mine"})
    assert (answer.status_code, answer.headers["Content-Type"]) == (404, "application/problem+json")
    assert answer.json()["request_id"] == "one of mine"
    assert client.post("/control/resume").status_code == 404
