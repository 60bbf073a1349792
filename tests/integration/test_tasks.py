"""Tasks by the API: versions, activity, paging, caching, wrong input."""

from __future__ import annotations

import concurrent.futures

import pytest


def test_create_read_change_and_history(member):
    task = member.create_task("Order paper", priority=2, due_date="2026-12-01", assignee_id=member.user_id)
    assert task["status"] == "open"
    assert task["assignee"]["id"] == member.user_id
    changed = member.patch(
        f"/api/tasks/{task['id']}", json={"version": 1, "status": "done", "title": "Order more paper"}
    )
    assert changed.json()["closed_at"] is not None
    assert changed.json()["version"] == 2
    said = member.post(f"/api/tasks/{task['id']}/comments", json={"text": "Done <b>today</b>"})
    assert said.status_code == 201
    history = member.get(f"/api/tasks/{task['id']}/activity").json()["items"]
    assert [line["verb"] for line in history] == ["commented", "closed", "created"]
    assert history[1]["data"]["title"] == ["Order paper", "Order more paper"]
    assert {line["actor"]["id"] for line in history} == {member.user_id}


def test_a_change_to_an_old_version_is_refused_with_the_current_state(member):
    task = member.create_task()
    member.patch(f"/api/tasks/{task['id']}", json={"version": 1, "title": "first"})
    answer = member.patch(f"/api/tasks/{task['id']}", json={"version": 1, "title": "second"})
    assert answer.status_code == 409
    assert answer.json()["current"]["title"] == "first"
    assert answer.json()["current"]["version"] == 2


def test_of_many_changes_at_once_one_wins(member, instances):
    for _ in range(20):
        task = member.create_task()
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            answers = list(
                pool.map(
                    lambda n, task=task: member.at(instances[n % 2]).patch(
                        f"/api/tasks/{task['id']}", json={"version": 1, "title": f"by {n}"}
                    ),
                    range(8),
                )
            )
        assert sorted(answer.status_code for answer in answers) == [200] + [409] * 7
        assert len(member.get(f"/api/tasks/{task['id']}/activity").json()["items"]) == 2


def test_a_change_that_changes_nothing_leaves_no_trace(member):
    task = member.create_task("same")
    answer = member.patch(f"/api/tasks/{task['id']}", json={"version": 1, "title": "same"})
    assert (answer.status_code, answer.json()["version"]) == (200, 1)
    assert len(member.get(f"/api/tasks/{task['id']}/activity").json()["items"]) == 1


def test_a_failed_activity_means_no_change(member, sql):
    task = member.create_task("before")
    sql("ALTER TABLE activity ADD CONSTRAINT refuse CHECK (verb <> 'changed') NOT VALID")
    try:
        answer = member.patch(f"/api/tasks/{task['id']}", json={"version": 1, "title": "after"})
        assert answer.status_code == 500
        assert member.get(f"/api/tasks/{task['id']}").json()["title"] == "before"
    finally:
        sql("ALTER TABLE activity DROP CONSTRAINT refuse")


def test_pages_follow_one_another_without_gap_or_repeat(member):
    made = [member.create_task(f"page {n}", assignee_id=member.user_id)["id"] for n in range(7)]
    seen, after = [], None
    while True:
        query = {"assignee": member.user_id, "limit": 3, **({"after": after} if after else {})}
        page = member.get("/api/tasks", params=query).json()
        seen += [item["id"] for item in page["items"]]
        after = page["next"]
        if after is None:
            break
    assert seen == made[::-1]


def test_filters(member):
    wanted = member.create_task("100% of _it\\", assignee_id=member.user_id)
    member.create_task("1000 of it", assignee_id=member.user_id)
    for query in ({"q": "100%"}, {"q": "_it"}, {"q": "it\\"}, {"q": "OF _IT"}):
        found = member.get("/api/tasks", params={"assignee": member.user_id, **query}).json()["items"]
        assert [item["id"] for item in found] == [wanted["id"]], query
    member.patch(f"/api/tasks/{wanted['id']}", json={"version": 1, "status": "doing"})
    doing = member.get("/api/tasks", params={"assignee": member.user_id, "status": "doing"}).json()["items"]
    assert [item["id"] for item in doing] == [wanted["id"]]


def test_short_words_are_found_where_words_begin(member):
    made = [member.create_task(title, assignee_id=member.user_id)["id"] for title in ("Oxide", "an ox", "foxes", "%x")]
    for query, expected in (("ox", made[1::-1]), ("O", made[1::-1]), ("%", [made[3]]), ("oxe", [made[2]])):
        found = member.get("/api/tasks", params={"assignee": member.user_id, "q": query}).json()["items"]
        assert [item["id"] for item in found] == expected, query


def test_only_lists_that_everybody_looks_at_are_cached(member, redis_keys):
    """Whatever one user asks for, Redis does not fill: neither with questions, nor with changes."""
    before = redis_keys("cache:*")
    for number in range(20):
        task = member.create_task("Milk and honey")
        for query in ("", "?limit=20", "?status=open"):
            assert member.get(f"/api/tasks{query}").status_code == 200
        for query in (f"q=milk+{number}", f"after={task['id']}", f"assignee={number + 1}", f"limit={51 + number}"):
            assert member.get(f"/api/tasks?{query}").status_code == 200
    assert len(redis_keys("cache:*") - before) <= 3


def test_a_cached_list_shows_a_change_at_once_on_another_instance(member, instances):
    elsewhere = member.at(instances[1])
    for number in range(20):
        elsewhere.get("/api/tasks")
        task = member.create_task(f"fresh {number}")
        assert elsewhere.get("/api/tasks").json()["items"][0]["id"] == task["id"]


WRONG_BODIES = [
    (b"", 400),
    (b"{", 400),
    (b"[]", 422),
    (b"null", 422),
    (b'"x"', 422),
    (b'{"title": 5}', 422),
    (b'{"title": ""}', 422),
    (b'{"title": "   "}', 422),
    (b'{"title": null}', 422),
    (b"{}", 422),
    (b'{"title": "x", "colour": "red"}', 422),
    (b'{"title": "x", "priority": "1"}', 422),
    (b'{"title": "x", "priority": 99999999999999999999}', 422),
    (b'{"title": "x", "priority": 1.5}', 422),
    (b'{"title": "x", "due_date": "2026-13-01"}', 422),
    (b'{"title": "a\\u0000b"}', 422),
    (b'{"title": "\\ud800"}', 400),
    (b'{"title": "x", "assignee_id": 999999999}', 422),
    (b'{"title": "x", "assignee_id": -1}', 422),
    (b'{"title": "x", "assignee_id": 9223372036854775808}', 422),
    (b"\xff\xfe", 400),
    (b'{"title": "' + b"x" * 201 + b'"}', 422),
    (b"[" * 100_000, 400),
    (b'{"title": NaN}', 422),
]


@pytest.mark.parametrize(("body", "status"), WRONG_BODIES, ids=range(len(WRONG_BODIES)))
def test_wrong_input_is_refused_with_a_problem(member, body, status):
    answer = member.post("/api/tasks", data=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == status, answer.text
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.json()["detail"]


def test_a_wrong_field_is_named_by_its_path(member):
    answer = member.post("/api/tasks", json={"title": "x", "priority": 9})
    assert [error["path"] for error in answer.json()["errors"]] == ["/priority"]


@pytest.mark.parametrize(
    "query",
    [
        "status=closed",
        "limit=0",
        "limit=x",
        "limit=201",
        "after=-1",
        "after=99999999999999999999",
        "colour=red",
        "q=%00",
        "assignee=a",
    ],
)
def test_a_wrong_query_is_refused(member, query):
    assert member.get(f"/api/tasks?{query}").status_code == 422


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/api/tasks/0", 404),
        ("GET", "/api/tasks/999999999", 404),
        ("GET", "/api/tasks/99999999999999999999", 404),
        ("GET", "/api/tasks/x", 404),
        ("GET", "/api/nothing", 404),
        ("DELETE", "/api/tasks", 405),
        ("GET", "/api/tasks/%00", 404),
        ("GET", "/api/tasks/999999999/activity", 404),
        ("PATCH", "/api/tasks/999999999", 404),
    ],
)
def test_wrong_paths_are_refused(member, method, path, status):
    answer = member.request(method, path, json={"version": 1} if method == "PATCH" else None)
    assert answer.status_code == status
    assert answer.headers["Content-Type"] == "application/problem+json"


def test_an_oversized_body_is_refused(member):
    assert member.post("/api/tasks", json={"title": "x", "description": "d" * 1_100_000}).status_code == 413


def test_a_form_is_no_json(member):
    assert member.post("/api/tasks", data={"title": "x"}).status_code == 415


def test_a_deleted_task_is_gone_and_its_history_stays(member, sql):
    task = member.create_task("to be deleted")
    where = f"/api/tasks/{task['id']}"
    stale = member.delete(where, params={"version": 2})
    assert (stale.status_code, stale.json()["current"]["version"]) == (409, 1)
    assert member.delete(where).status_code == 422
    assert member.delete(where, params={"version": 1}).status_code == 204
    assert member.get(where).status_code == 404
    assert member.patch(where, json={"version": 1, "title": "back"}).status_code == 404
    assert member.delete(where, params={"version": 1}).status_code == 404
    assert task["id"] not in [item["id"] for item in member.get("/api/tasks").json()["items"]]
    of_this = f"subject_type = 'task' AND subject_id = {task['id']}"
    lines = sql(f"SELECT string_agg(verb, ' ' ORDER BY id) FROM activity WHERE {of_this}")
    assert lines == "created deleted"
