"""Pages of tasks."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

import orjson
from flask import Response

from hecto.core.endpoints import Context, Router
from hecto.core.pages import done, leave_for, part_or_page, wants_part
from hecto.modules.tasks import queries, service
from hecto.modules.tasks.api import NewTask, list_json
from hecto.modules.tasks.forms import (
    AssigneeForm,
    CommentForm,
    DeleteForm,
    EditForm,
    Overlap,
    StatusForm,
    TaskPageQuery,
    save,
)
from hecto.modules.tasks.models import PRIORITIES
from hecto.modules.tasks.queries import TaskQuery
from hecto.modules.users import queries as users

router = Router("tasks", "pages")


@router.route("GET", "/tasks", permission="tasks.read", query=TaskQuery, transaction=False)
def task_list(context: Context) -> str:
    """The list, newest first, a page at a time."""
    query: TaskQuery = context.query
    found = orjson.loads(list_json(context, query))
    # Only the filters around the list offer people to choose from.
    people = [] if wants_part() else context.read(users.assignable)
    values = {"tasks": found["items"], "links": _links(query, found["next"]), "people": people}
    return part_or_page("tasks/_list.html", "tasks/list.html", query=query, **values)


@router.route("POST", "/tasks", permission="tasks.write", body=NewTask)
def add_task(context: Context) -> Response:
    """Add a task from the line above the list."""
    service.create(context.session, context.user, **context.body.model_dump())
    return done("/tasks", "task")


@router.route("GET", "/tasks/<id:task_id>", permission="tasks.read", query=TaskPageQuery)
def show_task(context: Context, task_id: int) -> str:
    """A task with its history beside it."""
    return part_or_page("tasks/_task.html", "tasks/show.html", edit=context.query.edit, **_task(context, task_id))


@router.route("POST", "/tasks/<id:task_id>", permission="tasks.write", body=EditForm)
def edit_task(context: Context, task_id: int) -> Response | tuple[str, int]:
    """Save the form; where somebody else changed the same fields, show both."""
    try:
        save(context, task_id, context.body)
    except Overlap as overlap:
        values = _task(context, task_id) | {
            "edit": True,
            "mine": context.body.model_dump(mode="json"),
            "overlap": overlap,
        }
        return part_or_page("tasks/_edit.html", "tasks/show.html", **values), overlap.status
    return done(f"/tasks/{task_id}", "task", "tasks/_document.html", **_task(context, task_id))


@router.route("POST", "/tasks/<id:task_id>/status", permission="tasks.write", body=StatusForm)
def set_status(context: Context, task_id: int) -> Response:
    """Start, close or reopen a task."""
    save(context, task_id, context.body)
    return done(f"/tasks/{task_id}", "task")


@router.route("POST", "/tasks/<id:task_id>/assignee", permission="tasks.write", body=AssigneeForm)
def assign(context: Context, task_id: int) -> Response:
    """Give a task to somebody, or to nobody."""
    save(context, task_id, context.body)
    return done(f"/tasks/{task_id}", "task")


@router.route("POST", "/tasks/<id:task_id>/delete", permission="tasks.write", body=DeleteForm)
def delete_task(context: Context, task_id: int) -> Response:
    """Delete a task and go back to the list."""
    service.delete(context.session, context.user, task_id, context.body.version)
    return leave_for("/tasks")


@router.route("POST", "/tasks/<id:task_id>/comments", permission="tasks.write", body=CommentForm)
def comment(context: Context, task_id: int) -> Response:
    """Say something about a task."""
    service.comment(context.session, context.user, task_id, context.body.text)
    return done(f"/tasks/{task_id}", "task")


def _links(query: TaskQuery, following: int | None) -> dict[str, str]:
    """Where this page of the list is, and the pages beside it; only those that exist."""
    filters = query.model_dump(exclude_defaults=True, exclude_none=True)
    pages = {"here": filters}
    if filters.pop("after", None):
        pages = {"here": {**filters, "after": query.after}, "newest": filters}
    if following:
        pages["older"] = {**filters, "after": following}
    return {name: "/tasks" + ("?" + urlencode(values) if values else "") for name, values in pages.items()}


def _task(context: Context, task_id: int) -> dict[str, Any]:
    """What the page of a task shows."""
    return {
        "task": queries.task(context.session, task_id),
        "history": queries.activity(context.session, task_id),
        "people": users.assignable(context.session),
        "priorities": PRIORITIES,
    }
