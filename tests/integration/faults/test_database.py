"""What happens when PostgreSQL goes away, is busy or refuses, and when it comes back."""

from __future__ import annotations

import concurrent.futures
import time

from hecto.core.unit_of_work import LAST_BEGINNING
from tests.servers import ask, wait_until


def seconds(work):
    started = time.monotonic()
    work()
    return time.monotonic() - started


def test_a_database_that_is_only_busy_is_not_called_unhealthy(instance, user, postgres):
    """Every connection of the instance waits for a lock; the server itself is well."""
    task = user.create_task("fought for")
    blocker = postgres.open("faults")
    assert blocker.ask(f"BEGIN; SELECT id FROM task WHERE id = {task['id']} FOR UPDATE;") == str(task["id"])
    try:
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            body = {"json": {"version": 1, "title": "mine"}}
            for _ in range(4):
                pool.submit(user.at(instance).patch, f"/api/tasks/{task['id']}", **body)
            wait_until(lambda: "hecto_database_connections 4.0" in user.get("/metrics").text, "a full pool", seconds=5)
            health = user.get("/api/health").json()
            blocker.close()
    finally:
        blocker.close()
    assert (health["status"], health["services"]["database"]) == ("DEGRADED", "busy")
    assert user.get("/api/health").json()["services"]["database"] == "healthy"


def test_a_restart_of_the_database_loses_no_request_that_can_be_repeated(user, postgres):
    """Pooled connections are dead after it; reads and writes get fresh ones in the same request."""
    for _ in range(3):
        user.create_task("warm")
        postgres.stop()
        postgres.start()
        assert user.get("/api/me").status_code == 200
        assert user.post("/api/tasks", json={"title": "after the restart"}).status_code == 201


def test_requests_under_way_wait_for_a_database_that_restarts(instance, user, postgres):
    """One is in the middle of its transaction when the server stops, the others come while nobody listens."""
    client = user.at(instance)
    task = client.create_task("before")
    where = f"/api/tasks/{task['id']}"
    blocker = postgres.open("faults")
    assert blocker.ask(f"BEGIN; SELECT id FROM task WHERE id = {task['id']} FOR UPDATE;") == str(task["id"])
    with concurrent.futures.ThreadPoolExecutor(12) as pool:
        changed = pool.submit(client.patch, where, json={"version": 1, "title": "after"})
        wait_until(
            lambda: b'"in_flight":1' in ask(instance.control, "GET", "/control/status")[1], "the change", seconds=5
        )
        postgres.stop()
        reading = [pool.submit(user.at(instance).get, where) for _ in range(4)]
        writing = [pool.submit(user.at(instance).post, "/api/tasks", json={"title": "new"}) for _ in range(4)]
        started = time.monotonic()
        assert user.get("/api/health").json()["services"]["database"] == "unhealthy"
        assert time.monotonic() - started < 1.5
        time.sleep(0.5)
        postgres.start()
        assert [answer.result().status_code for answer in reading] == [200] * 4
        assert [answer.result().status_code for answer in writing] == [201] * 4
        assert (changed.result().status_code, changed.result().json()["title"]) == (200, "after")
    blocker.close()
    assert user.get(where).json()["version"] == 2


def test_without_the_database_the_answer_is_a_problem_in_bounded_time(instance, user, postgres):
    user.get("/api/me")
    postgres.stop()
    try:
        started = time.monotonic()
        answer = user.post("/api/tasks", json={"title": "lost"})
        # Before nginx gives up and asks another instance, for nothing.
        assert time.monotonic() - started < LAST_BEGINNING + 1
        assert answer.status_code == 504, "503 would make nginx take this instance for a draining one"
        assert answer.headers["Content-Type"] == "application/problem+json"
        assert user.get("/api/ready").status_code == 200
        health = user.get("/api/health").json()
        assert health["services"]["database"] == "unhealthy"
        # What is away for longer than a restart takes is not waited for any more.
        wait_until(lambda: seconds(lambda: user.get("/api/tasks/1")) < 1, "a quick answer", seconds=15)
    finally:
        postgres.start()
    wait_until(lambda: user.get("/api/tasks/1").status_code in (200, 404), "the database", seconds=10)


def test_a_killed_backend_is_replaced_within_the_request(user, postgres):
    for _ in range(20):
        where = f"/api/tasks/{user.create_task('warm')['id']}"
        postgres.sql("faults", "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'hecto_app'")
        assert user.get(where).status_code == 200
        assert user.post("/api/tasks", json={"title": "again"}).status_code == 201


def test_deadlocks_and_serialization_failures_are_repeated(user, postgres):
    """A trigger fails the first two attempts of each insert, as a real conflict would."""
    postgres.sql(
        "faults",
        """
        CREATE SEQUENCE attempts;
        GRANT USAGE ON SEQUENCE attempts TO hecto_app;
        CREATE FUNCTION fail_twice() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF nextval('attempts') % 3 <> 0 THEN
                RAISE EXCEPTION 'could not serialize' USING ERRCODE = TG_ARGV[0];
            END IF;
            RETURN NEW;
        END $$;
        """,
    )
    try:
        for code in ("serialization_failure", "deadlock_detected"):
            postgres.sql(
                "faults",
                f"CREATE TRIGGER fail_twice BEFORE INSERT ON activity FOR EACH ROW EXECUTE FUNCTION"
                f" fail_twice('{code}')",
            )
            before = int(postgres.sql("faults", "SELECT count(*) FROM task"))
            task = user.create_task("third time lucky")
            assert int(postgres.sql("faults", "SELECT count(*) FROM task")) == before + 1
            history = int(postgres.sql("faults", f"SELECT count(*) FROM activity WHERE subject_id = {task['id']}"))
            assert history == 1
            postgres.sql("faults", "DROP TRIGGER fail_twice ON activity")
    finally:
        postgres.sql("faults", "DROP FUNCTION fail_twice CASCADE; DROP SEQUENCE attempts")
