"""Pages, as the browser gets them without its scripts."""

from __future__ import annotations

import re

import pytest

from tests.integration.conftest import PASSWORD, Client


@pytest.fixture
def jonas(admin, instance):
    """Somebody else."""
    admin.post("/api/users", json={"email": "jonas@example.com", "name": "Jonas", "password": PASSWORD})
    return Client(instance).sign_in("jonas@example.com", PASSWORD)


def edit(task, **fields):
    """The form of a task, with some fields changed."""
    shown = {"title": task["title"], "description": "", "priority": 3, "due_date": ""}
    return shown | {f"was_{name}": value for name, value in shown.items()} | {"version": task["version"]} | fields


def text(page):
    return " ".join(re.sub("<[^>]*>", " ", page).split())


def test_a_conflict_names_whoever_changed_that_field(member, browser, jonas, admin):
    """Not whoever was last at the task, and however much was said about it since."""
    task = member.create_task("As it was")
    where = f"/api/tasks/{task['id']}"
    assert jonas.patch(where, json={"version": 1, "title": "By Jonas"}).status_code == 200
    assert admin.patch(where, json={"version": 2, "priority": 1}).status_code == 200
    for number in range(101):
        assert admin.post(f"{where}/comments", json={"text": f"{number}"}).status_code == 201
    answer = browser.submit(f"/tasks/{task['id']}", **edit(task, title="By me"))
    assert answer.status_code == 409
    assert "Jonas changed the same at the same time" in text(answer.text)
    assert "Jonas wrote By Jonas" in text(answer.text)


def test_a_form_that_was_saved_is_no_conflict_when_it_is_repeated_after_another_change(member, browser, jonas):
    """The answer to the first was lost, and Jonas changed the same field before it was repeated."""
    task = member.create_task("As it was")

    def save():
        headers = {"HX-Request-Type": "partial", "X-Request-Key": f"saving {task['id']}"}
        return browser.post(f"{browser.base}/tasks/{task['id']}", edit(task, title="By me"), headers=headers)

    first = save()
    assert jonas.patch(f"/api/tasks/{task['id']}", json={"version": 2, "title": "By Jonas"}).status_code == 200
    again = save()
    assert (first.status_code, again.status_code, again.content) == (200, 200, first.content)
    assert member.get(f"/api/tasks/{task['id']}").json()["title"] == "By Jonas"


def test_a_task_of_somebody_inactive_shows_whose_it_is_and_can_be_taken_away(admin, member, browser, jonas):
    task = member.create_task(assignee_id=jonas.user_id)
    user = admin.get(f"/api/users/{jonas.user_id}").json()
    admin.patch(f"/api/users/{jonas.user_id}", json={"version": user["version"], "active": False})
    try:
        page = browser.see(f"/tasks/{task['id']}")
        assert f'<option value="{jonas.user_id}" selected>Jonas</option>' in page
        fields = {"version": 1, "assignee_id": "", "was_assignee_id": jonas.user_id}
        assert browser.submit(f"/tasks/{task['id']}/assignee", **fields).status_code == 204
        assert member.get(f"/api/tasks/{task['id']}").json()["assignee"] is None
    finally:
        version = admin.get(f"/api/users/{jonas.user_id}").json()["version"]
        admin.patch(f"/api/users/{jonas.user_id}", json={"version": version, "active": True})


def test_the_dashboard_counts_each_change(member, browser):
    def count(state):
        return int(re.search(f'id="count-{state}">([0-9]+)<', browser.see("/"))[1])

    before = count("open")
    task = member.create_task()
    assert count("open") == before + 1
    member.patch(f"/api/tasks/{task['id']}", json={"version": 1, "status": "doing"})
    assert (count("open"), count("doing") > 0) == (before, True)


def test_without_a_sign_in_scripts_are_told_so_and_people_are_led_to_it(instance, member, browser):
    """A script that is sent to another page throws away what was typed on this one."""
    browser.cookies.clear()
    assert browser.submit("/tasks", title="typed").status_code == 401
    assert browser.get(f"{instance.url}/tasks?q=x").status_code == 401
    answer = Client(instance).get("/tasks?q=x", allow_redirects=False)
    assert (answer.status_code, answer.headers["Location"]) == (303, "/sign-in?next=/tasks%3Fq%3Dx")
