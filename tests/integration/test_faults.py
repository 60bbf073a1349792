"""What happens when PostgreSQL or Redis go away and come back, and when an instance is told to leave."""

from __future__ import annotations

import concurrent.futures
import signal
import time

import pytest
import requests
import socketio

from tests.integration.conftest import Client
from tests.servers import ADMIN_EMAIL, ADMIN_PASSWORD, AppInstance, Postgres, Redis, Site, ask, scratch, wait_until


@pytest.fixture(scope="module")
def own(request):
    """A PostgreSQL, a Redis and an instance that these tests may stop."""
    directory = scratch()
    postgres, redis = Postgres(directory / "postgres"), Redis(directory / "redis")
    site = Site(directory, postgres, redis, "faults")
    site.setup()
    instance = AppInstance(site)
    yield postgres, redis, instance
    instance.stop()
    redis.stop()
    postgres.stop()


@pytest.fixture
def postgres(own):
    return own[0]


@pytest.fixture
def redis(own):
    return own[1]


@pytest.fixture
def instance(own):
    return own[2]


@pytest.fixture
def user(instance):
    return Client(instance).sign_in(ADMIN_EMAIL, ADMIN_PASSWORD)


def test_without_redis_requests_go_on_and_health_says_so(user, redis):
    task = user.create_task("before")
    redis.stop()
    try:
        assert user.get(f"/api/tasks/{task['id']}").status_code == 200
        assert user.get("/api/tasks").json()["items"][0]["id"] == task["id"]
        created = user.create_task("without redis")
        assert user.get("/api/tasks").json()["items"][0]["id"] == created["id"]
        assert Client.sign_in(Client(instance_of(user)), ADMIN_EMAIL, ADMIN_PASSWORD)
        started = time.monotonic()
        health = user.get("/api/health").json()
        assert time.monotonic() - started < 1.5
        assert health["status"] == "DEGRADED"
        assert health["services"] == {"database": "healthy", "redis": "unhealthy", "socketio": "unhealthy"}
        assert user.get("/api/ready").status_code == 200
    finally:
        redis.start()
    wait_until(lambda: user.get("/api/health").json()["status"] == "OK", "health", seconds=10)
    assert user.get("/api/tasks").json()["items"][0]["id"] == created["id"]


def instance_of(client):
    class At:
        url = client.base

    return At


def seconds(work):
    started = time.monotonic()
    work()
    return time.monotonic() - started


def test_without_redis_the_limit_is_kept_by_the_instance(own):
    _, redis, instance = own
    tight = AppInstance(instance.site, HECTO_REQUESTS_PER_MINUTE="5")
    try:
        client = Client(tight).sign_in(ADMIN_EMAIL, ADMIN_PASSWORD)
        redis.stop()
        assert [client.get("/api/me").status_code for _ in range(6)] == [200] * 5 + [429]
    finally:
        redis.start()
        tight.stop()


def test_a_silent_redis_costs_bounded_time(user, redis):
    """Stopped in mid-air, it accepts connections and never answers."""
    redis.process.send_signal(signal.SIGSTOP)
    try:
        started = time.monotonic()
        assert user.get("/api/me").status_code == 200
        assert time.monotonic() - started < 2.5
        started = time.monotonic()
        assert user.get("/api/me").status_code == 200
        assert time.monotonic() - started < 2.5
        started = time.monotonic()
        assert user.get("/api/health").json()["services"]["redis"] == "unhealthy"
        assert time.monotonic() - started < 1.5
    finally:
        redis.process.send_signal(signal.SIGCONT)
    wait_until(lambda: user.get("/api/health").json()["status"] == "OK", "health", seconds=10)


def test_while_redis_is_silent_one_request_waits_for_it_and_the_others_go_on(user, redis):
    redis.process.send_signal(signal.SIGSTOP)
    try:
        user.get("/api/me")
        time.sleep(1.1)  # the pause after which the store tries Redis again

        def seconds(_):
            started = time.monotonic()
            assert user.at(instance_of(user)).get("/api/me").status_code == 200
            return time.monotonic() - started

        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            waited = sorted(pool.map(seconds, range(8)))
        assert waited[6] < 0.5 <= waited[7]
    finally:
        redis.process.send_signal(signal.SIGCONT)
    wait_until(lambda: user.get("/api/health").json()["status"] == "OK", "health", seconds=10)


def test_a_full_redis_is_no_healthy_one(user, redis):
    redis.ask("CONFIG", "SET", "maxmemory", "1")
    try:
        assert user.get("/api/health").json()["services"]["redis"] == "unhealthy"
        assert user.get("/api/me").status_code == 200
        page = user.get("/api/tasks")
        assert page.status_code == 200
    finally:
        redis.ask("CONFIG", "SET", "maxmemory", "0")
    wait_until(lambda: user.get("/api/health").json()["status"] == "OK", "health", seconds=10)


def test_a_database_that_is_only_busy_is_not_called_unhealthy(own, user, postgres):
    """Every connection of the instance waits for a lock; the server itself is well."""
    task = user.create_task("fought for")
    blocker = postgres.open("faults")
    assert blocker.ask(f"BEGIN; SELECT id FROM task WHERE id = {task['id']} FOR UPDATE;") == str(task["id"])
    try:
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            body = {"json": {"version": 1, "title": "mine"}}
            for _ in range(4):
                pool.submit(user.at(instance_of(user)).patch, f"/api/tasks/{task['id']}", **body)
            wait_until(lambda: "hecto_database_connections 4.0" in user.get("/metrics").text, "a full pool", seconds=5)
            health = user.get("/api/health").json()
            blocker.close()
    finally:
        blocker.close()
    assert (health["status"], health["services"]["database"]) == ("DEGRADED", "busy")
    assert user.get("/api/health").json()["services"]["database"] == "healthy"


def test_the_dashboard_does_without_redis(own, redis):
    """It waits for a silent Redis no longer than other pages do, and not with a database connection in hand."""
    browser = requests.Session()
    form = {"email": ADMIN_EMAIL, "password": ADMIN_PASSWORD}
    assert browser.post(f"{own[2].url}/sign-in", data=form).status_code == 200
    assert 'id="count-online"' in browser.get(f"{own[2].url}/").text
    redis.process.send_signal(signal.SIGSTOP)
    try:
        browser.get(f"{own[2].url}/")
        started = time.monotonic()
        page = browser.get(f"{own[2].url}/")
        assert time.monotonic() - started < 0.7
        assert page.status_code == 200
        assert 'id="count-online"' not in page.text
    finally:
        redis.process.send_signal(signal.SIGCONT)
    wait_until(lambda: browser.get(f"{own[2].url}/api/health").json()["status"] == "OK", "health", seconds=10)


def test_an_invalidation_that_redis_missed_is_told_when_it_is_back(user, redis):
    user.create_task("known")
    assert user.get("/api/tasks").json()["items"][0]["title"] == "known"
    redis.process.send_signal(signal.SIGSTOP)
    try:
        user.create_task("made while Redis was silent")
    finally:
        redis.process.send_signal(signal.SIGCONT)
    time.sleep(1.1)  # the pause after which the store tries Redis again
    assert user.get("/api/tasks").json()["items"][0]["title"] == "made while Redis was silent"


def test_a_restart_of_the_database_loses_no_request_that_can_be_repeated(user, postgres):
    """Pooled connections are dead after it; reads and writes get fresh ones in the same request."""
    for _ in range(3):
        user.create_task("warm")
        postgres.stop()
        postgres.start()
        assert user.get("/api/me").status_code == 200
        assert user.post("/api/tasks", json={"title": "after the restart"}).status_code == 201


def test_requests_under_way_wait_for_a_database_that_restarts(own, user, postgres):
    """One is in the middle of its transaction when the server stops, the others come while nobody listens."""
    client = user.at(instance_of(user))
    task = client.create_task("before")
    where = f"/api/tasks/{task['id']}"
    blocker = postgres.open("faults")
    assert blocker.ask(f"BEGIN; SELECT id FROM task WHERE id = {task['id']} FOR UPDATE;") == str(task["id"])
    with concurrent.futures.ThreadPoolExecutor(12) as pool:
        changed = pool.submit(client.patch, where, json={"version": 1, "title": "after"})
        wait_until(
            lambda: b'"in_flight":1' in ask(own[2].control, "GET", "/control/status")[1], "the change", seconds=5
        )
        postgres.stop()
        reading = [pool.submit(user.at(instance_of(user)).get, where) for _ in range(4)]
        writing = [pool.submit(user.at(instance_of(user)).post, "/api/tasks", json={"title": "new"}) for _ in range(4)]
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


def test_without_the_database_the_answer_is_a_problem_in_bounded_time(user, postgres):
    user.get("/api/me")
    postgres.stop()
    try:
        started = time.monotonic()
        answer = user.post("/api/tasks", json={"title": "lost"})
        assert time.monotonic() - started < 7
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


def test_more_requests_than_connections_all_get_an_answer(user):
    with concurrent.futures.ThreadPoolExecutor(40) as pool:
        answers = list(
            pool.map(lambda n: user.at(instance_of(user)).post("/api/tasks", json={"title": f"{n}"}), range(200))
        )
    assert {answer.status_code for answer in answers} == {201}


def test_a_draining_instance_refuses_at_once_and_takes_traffic_again(instance, user):
    assert ask(instance.control, "POST", "/control/drain")[0] == 200
    try:
        assert user.get("/api/tasks").status_code == 503
        assert user.get("/socket.io/?EIO=4&transport=polling").status_code == 503
        ready = user.get("/api/ready")
        assert (ready.status_code, ready.json()["state"]) == (503, "draining")
        assert b'"in_flight":0' in ask(instance.control, "GET", "/control/status")[1]
    finally:
        ask(instance.control, "POST", "/control/resume")
    assert user.get("/api/tasks").status_code == 200


def test_the_control_routes_answer_on_the_control_socket_only(instance, user):
    assert user.get("/control/status").status_code == 404
    assert user.post("/control/drain").status_code == 404
    nginx = instance.site.run / f"{instance.number}.sock"
    assert ask(nginx, "POST", "/control/drain")[0] == 404
    assert ask(instance.control, "GET", "/control/nothing")[0] == 404


def test_metrics_are_for_the_loopback_only(instance, user):
    user.get("/api/me")
    answer = user.get("/metrics")
    assert answer.status_code == 200
    assert 'hecto_requests_total{endpoint="users.me",status="200"}' in answer.text
    assert ask(instance.site.run / f"{instance.number}.sock", "GET", "/metrics")[0] == 404


def test_a_stop_finishes_what_is_in_hand(own, user, postgres):
    """SIGTERM while a request waits for a lock: it is answered, a new one is refused."""
    leaving = AppInstance(own[2].site)
    client = user.at(instance_of(user))
    client.base = leaving.url
    task = client.create_task("slow")
    blocker = postgres.open("faults")
    assert blocker.ask(f"BEGIN; SELECT id FROM task WHERE id = {task['id']} FOR UPDATE;") == str(task["id"])
    try:
        with concurrent.futures.ThreadPoolExecutor() as pool:
            slow = pool.submit(client.patch, f"/api/tasks/{task['id']}", json={"version": 1, "title": "saved"})
            wait_until(
                lambda: b'"in_flight":1' in ask(leaving.control, "GET", "/control/status")[1], "the slow request"
            )
            leaving.process.send_signal(signal.SIGTERM)
            # The arbiter unlinks its sockets first: nginx then goes on to the next instance.
            wait_until(lambda: not leaving.control.exists(), "the end of the sockets", seconds=5)
            blocker.close()
            assert slow.result().json()["title"] == "saved"
    finally:
        blocker.close()
        leaving.process.wait(20)


def test_what_changes_while_redis_is_away_is_told_when_it_is_back(user, instance, redis):
    heard: list[dict] = []
    io = socketio.Client(reconnection=False)
    io.on("task.created", heard.append)
    io.connect(instance.url, transports=["websocket"], auth={"token": user.headers["Authorization"][7:]})
    redis.stop()
    try:
        made = [user.create_task(f"while away {n}")["id"] for n in range(3)]
        assert heard == []
    finally:
        redis.start()
    # At least once: the number of the event tells a repeat. What another test did may be told late as well.
    wait_until(lambda: made[-1] in [event["id"] for event in heard], "the events", seconds=15)
    io.disconnect()
    told = [found["id"] for found in {event["event"]: event for event in heard}.values()]
    assert [task for task in told if task in made] == made


def test_a_sign_out_while_redis_is_away_counts_when_it_is_back(user, instance, redis):
    ended = Client(instance).sign_in(ADMIN_EMAIL, ADMIN_PASSWORD)
    assert ended.get("/api/me").status_code == 200
    redis.process.send_signal(signal.SIGSTOP)
    try:
        assert ended.post("/api/auth/logout").status_code == 204
    finally:
        redis.process.send_signal(signal.SIGCONT)
    # The copy of the sign-in in Redis, good for another minute, outlived the outage.
    wait_until(lambda: ended.get("/api/me").status_code == 401, "the end of the sign-in", seconds=10)


def test_who_comes_while_redis_is_away_is_soon_in_and_told_when_it_is_back(user, instance, redis):
    redis.stop()
    try:
        # It has never heard anything, so there is no outage that it could remember.
        fresh = AppInstance(instance.site)
        missed: list[object] = []
        io = socketio.Client(reconnection=False)
        io.on("missed", missed.append)
        begun = time.monotonic()
        io.connect(fresh.url, transports=["websocket"], auth={"token": user.headers["Authorization"][7:]})
        # Not a second for each of its rooms, which nobody can confirm.
        assert time.monotonic() - begun < 2
        assert missed == []
    finally:
        redis.start()
    wait_until(lambda: missed == [{}], "the word that something was missed", seconds=15)
    io.disconnect()
    fresh.stop()
