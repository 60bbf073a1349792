"""What was committed is told: after the death of an instance, through an outage of Redis, in order, with its number."""

from __future__ import annotations

import concurrent.futures
import json
import uuid

import pytest

from tests.integration.test_live import Listener, listen  # noqa: F401  a fixture
from tests.servers import AppInstance, wait_until


@pytest.fixture
def left(sql):
    """Puts a line into the outbox as an instance leaves it that dies right after its commit."""

    def leave(subject: str, age: str = "0 s", **payload: object) -> None:
        messages = json.dumps([["list:tasks", "task.updated", payload]])
        sql(
            "INSERT INTO outbox (subject, drops, messages, created_at)"
            f" VALUES ('{subject}', '{{cache:tasks}}', '{messages}', now() - interval '{age}')"
        )

    return leave


def emptied(sql) -> None:
    wait_until(lambda: sql("SELECT count(*) FROM outbox") == "0", "the outbox to be told", seconds=10)


def test_what_is_told_is_forgotten(member, sql):
    member.create_task("told")
    emptied(sql)


def test_events_carry_their_number_and_each_is_told_once(member, instances, listen, sql):  # noqa: F811
    listener = listen(member.at(instances[1]))
    tasks = [member.create_task(f"number {n}") for n in range(20)]
    events = [listener.next("task.created") for _ in tasks]
    assert [event["id"] for event in events] == [task["id"] for task in tasks]
    numbers = [event["event"] for event in events]
    assert numbers == sorted(set(numbers))


def test_an_instance_that_starts_tells_what_another_left(site, member, instances, listen, left, sql):  # noqa: F811
    listener = listen(member.at(instances[1]))
    mark = uuid.uuid4().hex
    left("task:1", id=1, mark=mark)
    heir = AppInstance(site)
    try:
        while (event := listener.next("task.updated")).get("mark") != mark:
            pass
        assert event["event"] > 0
        emptied(sql)
    finally:
        heir.stop()


def test_a_repeated_request_makes_its_instance_tell_at_once(member, instances, listen, left, sql):  # noqa: F811
    listener = listen(member.at(instances[1]))
    key = {"X-Request-Key": uuid.uuid4().hex}
    task = member.post("/api/tasks", json={"title": "first"}, headers=key).json()
    assert listener.next("task.created")["id"] == task["id"]
    mark = uuid.uuid4().hex
    left("task:2", id=2, mark=mark)
    again = member.at(instances[1]).post("/api/tasks", json={"title": "first"}, headers=key)
    assert again.headers["Idempotency-Replayed"] == "true"
    while listener.next("task.updated").get("mark") != mark:
        pass


def test_a_dead_instance_leaves_no_stale_list_behind(site, member, instances, left, sql):
    """The change was committed, its instance died before it dropped the cached list."""
    first = member.get("/api/tasks?limit=7").json()["items"]
    sql(f"UPDATE task SET title = 'as it is now' WHERE id = {first[0]['id']}")
    assert member.get("/api/tasks?limit=7").json()["items"][0]["title"] != "as it is now"
    left(f"task:{first[0]['id']}", id=first[0]["id"])
    AppInstance(site).stop()
    assert member.get("/api/tasks?limit=7").json()["items"][0]["title"] == "as it is now"


def test_changes_of_one_document_on_two_instances_are_told_in_their_order(member, instances, listen):  # noqa: F811
    listener = listen(member)
    for _ in range(20):
        task = member.create_task("raced")

        def change(number: int, task: dict = task) -> None:
            at = member.at(instances[number % 2])
            while True:
                version = at.get(f"/api/tasks/{task['id']}").json()["version"]
                answer = at.patch(f"/api/tasks/{task['id']}", json={"version": version, "title": f"raced {number}"})
                if answer.status_code == 200:
                    return

        with concurrent.futures.ThreadPoolExecutor(6) as pool:
            list(pool.map(change, range(6)))
        told = []
        while len(told) < 6:
            event = listener.next("task.updated")
            if event["id"] == task["id"]:
                told.append((event["event"], event["version"]))
        assert [version for _, version in told] == [2, 3, 4, 5, 6, 7]
        assert told == sorted(told)


def test_a_failed_change_leaves_no_line(member, sql):
    emptied(sql)
    sql("ALTER TABLE outbox ADD CONSTRAINT keep CHECK (subject <> 'never')")
    sql("ALTER TABLE activity ADD CONSTRAINT refuse CHECK (verb <> 'created') NOT VALID")
    try:
        before = sql("SELECT count(*) FROM outbox")
        assert member.post("/api/tasks", json={"title": "never"}).status_code == 500
        assert sql("SELECT count(*) FROM outbox") == before
    finally:
        sql("ALTER TABLE activity DROP CONSTRAINT refuse")
        sql("ALTER TABLE outbox DROP CONSTRAINT keep")


def test_a_change_without_a_place_in_the_outbox_is_no_change(member, sql):
    title = f"untold {uuid.uuid4().hex}"
    sql("ALTER TABLE outbox ADD CONSTRAINT refuse CHECK (false) NOT VALID")
    try:
        assert member.post("/api/tasks", json={"title": title}).status_code == 500
    finally:
        sql("ALTER TABLE outbox DROP CONSTRAINT refuse")
    assert sql(f"SELECT count(*) FROM task WHERE title = '{title}'") == "0"
