"""PostgreSQL and Redis away at once: none would fare better, so each stays ready and says what is the matter."""

from __future__ import annotations

import time

import pytest

from tests.integration.conftest import ADMIN_EMAIL, ADMIN_PASSWORD, Browser, Client
from tests.servers import wait_until


@pytest.fixture
def seen(instance):
    return Browser(instance, ADMIN_EMAIL, ADMIN_PASSWORD)


@pytest.fixture
def away(user, seen, postgres, redis):
    """Both stop after somebody has signed in."""
    postgres.stop()
    redis.stop()
    yield
    postgres.start()
    redis.start()
    wait_until(lambda: user.get("/api/health").json()["status"] == "OK", "health", seconds=15)


def test_it_stays_ready_and_programs_get_a_problem_that_says_when_to_come_again(instance, user, away):
    assert user.get("/api/ready").json()["state"] == "ready"
    for answer in (
        user.get("/api/tasks"),
        user.post("/api/tasks", json={"title": "lost"}),
        Client(instance).post("/api/auth/login", json={"email": ADMIN_EMAIL, "password": ADMIN_PASSWORD}),
    ):
        # Not 503: nginx would take one instance after the other out, until nobody is left to say anything.
        assert answer.status_code == 504, answer.text
        assert (answer.headers["Retry-After"], answer.headers["Content-Type"]) == ("2", "application/problem+json")
        assert "The database did not answer" in answer.json()["detail"]
        assert "Nothing was changed. Try again" in answer.json()["detail"]
    health = user.get("/api/health").json()
    assert (health["status"], health["services"]["database"], health["services"]["redis"]) == (
        "DEGRADED",
        "unhealthy",
        "unhealthy",
    )


def test_people_get_a_page_that_they_can_read(instance, seen, away):
    for path in ("/", "/tasks", "/messages"):
        started = time.monotonic()
        answer = seen.get(instance.url + path)
        assert time.monotonic() - started < 9, "nginx would ask another instance, for nothing"
        assert (answer.status_code, answer.headers.get("Retry-After")) == (504, "2"), (path, answer.text)
        assert answer.headers["Content-Type"].startswith("text/html")
        assert "A service that Hecto needs does not answer" in answer.text
        assert "Try again in a moment" in answer.text
    assert seen.get(f"{instance.url}/api/ready").status_code == 200
