"""What happens when Redis goes away or falls silent, and when it comes back."""

from __future__ import annotations

import concurrent.futures
import signal
import time

import requests
import socketio

from tests.integration.conftest import Client
from tests.servers import ADMIN_EMAIL, ADMIN_PASSWORD, AppInstance, wait_until


def test_without_redis_requests_go_on_and_health_says_so(instance, user, redis):
    task = user.create_task("before")
    redis.stop()
    try:
        assert user.get(f"/api/tasks/{task['id']}").status_code == 200
        assert user.get("/api/tasks").json()["items"][0]["id"] == task["id"]
        created = user.create_task("without redis")
        assert user.get("/api/tasks").json()["items"][0]["id"] == created["id"]
        assert Client(instance).sign_in(ADMIN_EMAIL, ADMIN_PASSWORD)
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


def test_what_was_changed_is_in_every_list_once_redis_is_back(instance, user, redis):
    """The instance that met its absence forgets it as soon as another one that keeps lists there again."""
    other = AppInstance(instance.site)
    try:
        elsewhere = user.at(other)
        where = f"/api/tasks/{user.create_task('before')['id']}"
        for version in range(1, 6):
            redis.stop()
            assert user.get("/api/me").status_code == 200
            redis.start()
            assert elsewhere.get("/api/tasks").status_code == 200
            assert user.patch(where, json={"version": version, "title": f"change {version}"}).status_code == 200
            assert elsewhere.get("/api/tasks").json()["items"][0]["title"] == f"change {version}"
    finally:
        other.stop()


def test_without_redis_the_limit_is_kept_by_the_instance(instance, redis):
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


def test_while_redis_is_silent_one_request_waits_for_it_and_the_others_go_on(instance, user, redis):
    redis.process.send_signal(signal.SIGSTOP)
    try:
        user.get("/api/me")
        time.sleep(1.1)  # the pause after which the store tries Redis again

        def seconds(_):
            started = time.monotonic()
            assert user.at(instance).get("/api/me").status_code == 200
            return time.monotonic() - started

        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            waited = sorted(pool.map(seconds, range(8)))
        # Or none of them, when what the instance does by itself was first to try.
        assert waited[6] < 0.5
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


def test_the_dashboard_does_without_redis(instance, redis):
    """It waits for a silent Redis no longer than other pages do, and not with a database connection in hand."""
    browser = requests.Session()
    form = {"email": ADMIN_EMAIL, "password": ADMIN_PASSWORD}
    assert browser.post(f"{instance.url}/sign-in", data=form).status_code == 200
    assert 'id="count-present"' in browser.get(f"{instance.url}/").text
    # What an instance remembers of who is here is older than this then.
    time.sleep(2)
    redis.process.send_signal(signal.SIGSTOP)
    try:
        browser.get(f"{instance.url}/")
        started = time.monotonic()
        page = browser.get(f"{instance.url}/")
        assert time.monotonic() - started < 0.7
        assert page.status_code == 200
        assert 'id="count-present"' not in page.text
        api = Client(instance).sign_in(ADMIN_EMAIL, ADMIN_PASSWORD)
        answer = api.get("/api/presence")
        assert (answer.status_code, answer.headers["Retry-After"]) == (504, "2"), answer.text
    finally:
        redis.process.send_signal(signal.SIGCONT)
    wait_until(lambda: browser.get(f"{instance.url}/api/health").json()["status"] == "OK", "health", seconds=10)


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


def test_what_changes_while_redis_is_away_is_told_when_it_is_back(user, instance, redis):
    heard: list[dict] = []
    io = socketio.Client(reconnection=False)
    io.on("task.created", heard.append)
    io.connect(
        instance.url, transports=["websocket"], auth={"token": user.headers["Authorization"][7:], "recovery": False}
    )
    redis.stop()
    try:
        made = [user.create_task(f"while away {n}")["id"] for n in range(3)]
        assert not {event["id"] for event in heard} & set(made)
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
        io.connect(
            fresh.url, transports=["websocket"], auth={"token": user.headers["Authorization"][7:], "recovery": False}
        )
        # Not a second for each of its rooms, which nobody can confirm.
        assert time.monotonic() - begun < 2
        assert missed == []
    finally:
        redis.start()
    wait_until(lambda: missed == [{}], "the word that something was missed", seconds=15)
    io.disconnect()
    fresh.stop()
