"""A write that comes twice happens once, and both get the same answer."""

from __future__ import annotations

import concurrent.futures
import hashlib
import os
import signal
import subprocess
import uuid

import orjson
import pytest
import requests

from tests.integration.conftest import Client
from tests.servers import ADMIN_EMAIL, ADMIN_PASSWORD, AppInstance, wait_until


@pytest.fixture
def key():
    return str(uuid.uuid4())


@pytest.mark.parametrize("header", ["Idempotency-Key", "X-Request-Key"])
def test_a_repeat_gets_the_first_answer(member, instances, sql, header, key):
    body = {"title": f"once {key}"}
    first = member.post("/api/tasks", json=body, headers={header: key})
    again = member.at(instances[1]).post("/api/tasks", json=body, headers={header: key})
    assert (again.status_code, again.json()) == (201, first.json())
    assert "Idempotency-Replayed" not in first.headers
    assert again.headers["Idempotency-Replayed"] == "true"
    assert sql(f"SELECT count(*) FROM task WHERE title = 'once {key}'") == "1"


def test_a_repeated_change_is_answered_like_the_first_although_its_version_is_old_by_now(member, key):
    task = member.create_task()
    change = {"version": 1, "title": "changed"}
    answers = [member.patch(f"/api/tasks/{task['id']}", json=change, headers={"X-Request-Key": key}) for _ in range(3)]
    assert [(answer.status_code, answer.json()["version"]) for answer in answers] == [(200, 2)] * 3
    assert len(member.get(f"/api/tasks/{task['id']}/activity").json()["items"]) == 2


def test_repeats_side_by_side_on_two_instances_happen_once(member, instances, sql):
    for _ in range(20):
        key = str(uuid.uuid4())

        def send(number, key=key):
            at = member.at(instances[number % 2])
            return at.post("/api/tasks", json={"title": f"race {key}"}, headers={"Idempotency-Key": key})

        with concurrent.futures.ThreadPoolExecutor(6) as pool:
            answers = list(pool.map(send, range(6)))
        assert {answer.status_code for answer in answers} == {201}
        assert len({answer.json()["id"] for answer in answers}) == 1
        assert sql(f"SELECT count(*) FROM task WHERE title = 'race {key}'") == "1"
        assert sql(f"SELECT count(*) FROM activity WHERE data->>'title' = 'race {key}'") == "1"


def test_changes_side_by_side_under_one_key_all_succeed(member, instances):
    for _ in range(20):
        task, key = member.create_task(), str(uuid.uuid4())

        def send(number, task=task, key=key):
            at = member.at(instances[number % 2])
            change = {"version": 1, "title": "changed"}
            return at.patch(f"/api/tasks/{task['id']}", json=change, headers={"X-Request-Key": key})

        with concurrent.futures.ThreadPoolExecutor(6) as pool:
            answers = list(pool.map(send, range(6)))
        assert [(answer.status_code, answer.json()["version"]) for answer in answers] == [(200, 2)] * 6


def test_a_key_with_another_body_is_refused(member, key):
    member.post("/api/tasks", json={"title": "one"}, headers={"Idempotency-Key": key})
    other = member.post("/api/tasks", json={"title": "two"}, headers={"Idempotency-Key": key})
    assert other.status_code == 422
    assert "another" in other.json()["title"]


def test_the_key_of_another_user_or_path_is_another_key(admin, member, key):
    headers = {"Idempotency-Key": key}
    mine = member.post("/api/tasks", json={"title": "same"}, headers=headers).json()
    theirs = admin.post("/api/tasks", json={"title": "same"}, headers=headers).json()
    comment = member.post(f"/api/tasks/{mine['id']}/comments", json={"text": "x"}, headers=headers)
    assert theirs["id"] != mine["id"]
    assert (comment.status_code, comment.json()["verb"]) == (201, "commented")


def test_a_refused_write_may_succeed_under_the_same_key_later(admin, member, sql, key):
    headers = {"X-Request-Key": key}
    sql("ALTER TABLE activity ADD CONSTRAINT refuse CHECK (verb <> 'created') NOT VALID")
    try:
        assert member.post("/api/tasks", json={"title": "later"}, headers=headers).status_code == 500
    finally:
        sql("ALTER TABLE activity DROP CONSTRAINT refuse")
    assert member.post("/api/tasks", json={"title": "later"}, headers=headers).status_code == 201


def test_a_key_that_is_too_long_is_refused(member):
    assert member.post("/api/tasks", json={"title": "x"}, headers={"Idempotency-Key": "k" * 201}).status_code == 400


def test_credentials_are_never_stored(instance, member, sql, key):
    before = sql("SELECT count(*) FROM request_key")
    body = {"email": ADMIN_EMAIL, "password": ADMIN_PASSWORD}
    for path in ("/api/auth/login", "/sign-in"):
        requests.post(instance.url + path, json=body, headers={"Idempotency-Key": key}, timeout=30)
    member.post("/api/auth/refresh", json={"refresh_token": member.refresh_token}, headers={"Idempotency-Key": key})
    assert sql("SELECT count(*) FROM request_key") == before


def test_expired_keys_are_swept_as_writes_come(member, sql):
    sql(
        "INSERT INTO request_key SELECT ('\\x' || md5(n::text))::bytea, '', 200, '', '{}', '', now() - interval '1 s'"
        " FROM generate_series(1, 300) n"
    )
    for _ in range(1500):
        member.post("/api/tasks", json={"title": "sweep"}, headers={"X-Request-Key": str(uuid.uuid4())})
        if sql("SELECT count(*) FROM request_key WHERE expires_at < now()") == "0":
            return
    pytest.fail("1500 writes with keys swept nothing")


def test_a_write_whose_commit_got_no_answer_is_found_to_stand(site, admin, sql, key):
    """The worker is killed with -9 when its transaction has been committed; the repeat goes to another instance."""
    doomed, heir = AppInstance(site), AppInstance(site)
    try:
        for _ in range(5):
            repeat = str(uuid.uuid4())
            client = admin.at(doomed)
            worker = int(subprocess.check_output(["pgrep", "-P", str(doomed.process.pid)]))
            with concurrent.futures.ThreadPoolExecutor() as pool:
                sent = pool.submit(_send, client, repeat)
                wait_until(lambda r=repeat: sql(f"SELECT count(*) FROM task WHERE title = '{r}'") == "1", "the commit")
                os.kill(worker, signal.SIGKILL)
                sent.result()
            answer = admin.at(heir).post("/api/tasks", json={"title": repeat}, headers={"X-Request-Key": repeat})
            assert answer.status_code == 201
            assert sql(f"SELECT count(*) FROM task WHERE title = '{repeat}'") == "1"
            wait_until(doomed.answers, "the next worker")
    finally:
        doomed.stop()
        heir.stop()


def _send(client: Client, key: str) -> None:
    try:
        client.post("/api/tasks", json={"title": key}, headers={"X-Request-Key": key})
    except requests.ConnectionError:
        return


def test_a_repeated_deletion_is_answered_like_the_first(member, key):
    where = f"/api/tasks/{member.create_task()['id']}"
    answers = [member.delete(where, params={"version": 1}, headers={"X-Request-Key": key}) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [204, 204]
    assert answers[1].headers["Idempotency-Replayed"] == "true"


def test_an_answer_that_is_too_large_to_keep_is_made_anew(member, sql, key):
    body = {"title": "large", "description": "\U0001f600" * 20_000}
    first = member.post("/api/tasks", json=body, headers={"Idempotency-Key": key})
    assert first.headers["Content-Location"] == f"/api/tasks/{first.json()['id']}"
    assert sql("SELECT max(length(answer)) <= 65536 FROM request_key") == "t"
    again = member.post("/api/tasks", json=body, headers={"Idempotency-Key": key})
    assert (again.status_code, again.json()) == (201, first.json())
    assert again.headers["Idempotency-Replayed"] == "true"
    member.delete(f"/api/tasks/{first.json()['id']}", params={"version": 1})
    gone = member.post("/api/tasks", json=body, headers={"Idempotency-Key": key})
    assert (gone.status_code, gone.content) == (201, b"")


@pytest.mark.parametrize(("header", "status"), [("Idempotency-Key", 409), ("X-Request-Key", 504)])
def test_a_first_attempt_that_takes_too_long_is_waited_for_and_not_repeated(
    site, member, postgres, sql, key, header, status
):
    sql("ALTER ROLE hecto_app SET lock_timeout = '300ms'")
    impatient = AppInstance(site)
    holder = postgres.open(site.database)
    try:
        scope = [member.user_id, "POST", "/api/tasks?", "client" if status == 409 else "hop", key]
        digest = hashlib.sha256(orjson.dumps(scope)).hexdigest()
        # As it looks while the first attempt is at work: its key is there, uncommitted.
        held = holder.ask(
            "BEGIN; INSERT INTO request_key (id, body_digest, status, content_type, headers, answer, expires_at)"
            f" VALUES ('\\x{digest}', '', 201, '', '{{}}', '', now()); SELECT 'held';"
        )
        assert held == "held"
        answer = member.at(impatient).post("/api/tasks", json={"title": f"slow {key}"}, headers={header: key})
        assert (answer.status_code, answer.headers["Retry-After"]) == (status, "2")
        assert sql(f"SELECT count(*) FROM task WHERE title = 'slow {key}'") == "0"
        assert holder.ask("ROLLBACK; SELECT 'gone';") == "gone"
        answer = member.at(impatient).post("/api/tasks", json={"title": f"slow {key}"}, headers={header: key})
        assert answer.status_code == 201
    finally:
        holder.close()
        impatient.stop()
        sql("ALTER ROLE hecto_app RESET lock_timeout")


def test_a_lock_that_is_waited_for_in_vain_is_a_504(site, member, postgres, sql):
    sql("ALTER ROLE hecto_app SET lock_timeout = '300ms'")
    impatient = AppInstance(site)
    holder = postgres.open(site.database)
    try:
        task = member.create_task()
        assert holder.ask(f"BEGIN; SELECT id FROM task WHERE id = {task['id']} FOR UPDATE;") == str(task["id"])
        change = {"version": 1, "title": "changed"}
        answer = member.at(impatient).patch(f"/api/tasks/{task['id']}", json=change)
        assert answer.status_code == 504
        assert "same record" in answer.json()["detail"]
    finally:
        holder.close()
        impatient.stop()
        sql("ALTER ROLE hecto_app RESET lock_timeout")


def test_what_is_kept_of_a_body_does_not_help_to_guess_a_password(admin, sql):
    body = b'{"email": "kept@example.com", "name": "K", "password": "a short password"}'
    headers = {"Idempotency-Key": "with a password", "Content-Type": "application/json"}
    assert admin.post("/api/users", data=body, headers=headers).status_code == 201
    digest = hashlib.sha256(body).hexdigest()
    assert sql(f"SELECT count(*) FROM request_key WHERE body_digest = '\\x{digest}'") == "0"
    assert admin.post("/api/users", data=body, headers=headers).headers["Idempotency-Replayed"] == "true"
