"""What an instance logs is JSON that names the request, and every statement says for which request it runs."""

from __future__ import annotations

import json
import threading
import uuid

import pytest
import requests

from tests.integration.conftest import Client
from tests.servers import ADMIN_EMAIL, ADMIN_PASSWORD, REPOSITORY, AppInstance, Postgres, Site, wait_until

BREAKING = {"app": "tests.integration.breaking:app", "PYTHONPATH": f"{REPOSITORY}:{REPOSITORY / 'app'}"}


@pytest.fixture(scope="module")
def watched(site: Site):
    """An instance for which 0.3 s are slow."""
    found = AppInstance(site, HECTO_SLOW_MILLISECONDS="300", **BREAKING)
    yield found
    found.stop()


@pytest.fixture
def request_id() -> str:
    return uuid.uuid4().hex


def lines(instance: AppInstance, request_id: str) -> list[dict]:
    """What was logged of a request; every line of the log is JSON, or this fails."""
    found = [json.loads(line) for line in instance.log.read_text().splitlines()]
    return [line for line in found if line.get("request_id") == request_id]


def test_what_gunicorn_says_is_json_as_well(watched):
    found = [json.loads(line) for line in watched.log.read_text().splitlines()]
    booted = [line for line in found if line["logger"] == "gunicorn.error" and "Booting worker" in line["message"]]
    assert booted
    assert all(line["instance"] == watched.name and line["release"] == "development" for line in found)


def test_an_error_is_logged_with_its_request_and_without_its_values(watched, request_id):
    answer = requests.post(f"{watched.url}/api/break", headers={"X-Request-ID": request_id}, timeout=30)
    assert answer.status_code == 500
    (line,) = [line for line in lines(watched, request_id) if line["level"] == "error"]
    assert line["message"] == "request POST /api/break failed unexpectedly"
    assert "UniqueViolation" in line["exception"]
    assert "INSERT INTO person" in line["exception"]
    assert "parameters: {" not in line["exception"]


def test_what_is_no_text_is_logged_as_well(watched, request_id):
    requests.post(f"{watched.url}/api/say", headers={"X-Request-ID": request_id}, timeout=30)
    (line,) = lines(watched, request_id)
    assert line["message"] == "half a surrogate: \udc80"
    assert line["more"] == {"a": 1}


def test_statements_with_a_percent_sign_stay_what_they_are(watched, request_id):
    answer = requests.post(f"{watched.url}/api/percent", headers={"X-Request-ID": request_id}, timeout=30)
    assert answer.text == "100%%x%"


def test_a_slow_request_is_told_of_and_seen_in_the_database(watched, postgres: Postgres, site: Site, request_id):
    client = Client(watched).sign_in(ADMIN_EMAIL, ADMIN_PASSWORD)
    task = client.create_task()
    holder = postgres.open(site.database)
    assert holder.ask(f"BEGIN; SELECT id FROM task WHERE id = {task['id']} FOR UPDATE;") == str(task["id"])
    change = {"title": "changed", "version": task["version"]}
    answers = []
    asking = threading.Thread(
        target=lambda: answers.append(
            client.patch(f"/api/tasks/{task['id']}", json=change, headers={"X-Request-ID": request_id})
        )
    )
    asking.start()
    comment = f"/*request_id='{request_id}',route='tasks.change_task',user='{client.user_id}'*/"
    waiting = f"SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%{request_id}%'"
    wait_until(lambda: postgres.sql("postgres", waiting) == "1", "the statement that waits")
    running = postgres.sql("postgres", f"SELECT query FROM pg_stat_activity WHERE query LIKE '%{request_id}%*/'")
    assert running.endswith(comment)
    threading.Event().wait(1.1)
    holder.close()
    asking.join()
    assert answers[0].status_code == 200, answers[0].text
    assert answers[0].headers["X-Hecto-User"] == str(client.user_id)
    slow = next(line for line in lines(watched, request_id) if line["message"] == "a request was slow")
    assert (slow["method"], slow["path"]) == ("PATCH", f"/api/tasks/{task['id']}")
    assert slow["user"] == str(client.user_id)
    assert slow["statements"] >= 2
    assert slow["milliseconds"] >= slow["database_milliseconds"] >= 1100
    long = next(line for line in lines(watched, request_id) if "a transaction took long" in line["message"])
    assert long["milliseconds"] >= 1100


def test_who_signs_in_is_logged_and_what_he_typed_is_not(watched, request_id):
    typed = {"email": "my-password@example.com", "password": "my other password"}
    requests.post(f"{watched.url}/api/auth/login", json=typed, headers={"X-Request-ID": request_id}, timeout=30)
    (refused,) = lines(watched, request_id)
    assert (refused["logger"], refused["level"]) == ("hecto.security", "warning")
    assert refused["address"] == "127.0.0.1"
    body = {"email": ADMIN_EMAIL, "password": ADMIN_PASSWORD}
    answer = requests.post(
        f"{watched.url}/api/auth/login", json=body, headers={"X-Request-ID": request_id + "2"}, timeout=30
    )
    (signed_in,) = lines(watched, request_id + "2")
    assert signed_in["message"] == "signed in"
    assert signed_in["user"] == str(answer.json()["user"]["id"]) == answer.headers["X-Hecto-User"]
    log = watched.log.read_text()
    for secret in ("my-password", "my other password", ADMIN_PASSWORD, answer.json()["refresh_token"]):
        assert secret not in log


def test_an_id_that_could_end_the_comment_is_not_taken(watched, postgres: Postgres):
    evil = "x*/; DROP TABLE task; --%s"
    answer = requests.get(f"{watched.url}/api/health", headers={"X-Request-ID": evil}, timeout=30)
    assert answer.json()["services"]["database"] == "healthy"
