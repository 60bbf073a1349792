"""JSON routes of tasks."""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated, Any, Literal

from flask import Response
from pydantic import BaseModel, Field

from hecto.core.endpoints import Context, Router
from hecto.core.input import LARGEST_ID, Input, not_sent
from hecto.modules.tasks import queries, service
from hecto.modules.tasks.queries import ActivityQuery, TaskQuery

router = Router("tasks", "api")

Title = Annotated[str, Field(min_length=1, max_length=200)]
Description = Annotated[str, Field(max_length=20_000)]
Priority = Annotated[int, Field(ge=1, le=4)]
Identifier = Annotated[int, Field(ge=1, le=LARGEST_ID)]
StatusName = Literal["open", "doing", "done"]


class NewTask(Input):
    title: Title
    description: Description = ""
    priority: Priority = 3
    due_date: date | None = None
    assignee_id: Identifier | None = None


class TaskChange(Input):
    version: Identifier
    title: Title = Field(default_factory=not_sent)
    description: Description = Field(default_factory=not_sent)
    status: StatusName = Field(default_factory=not_sent)
    priority: Priority = Field(default_factory=not_sent)
    due_date: date | None = Field(default_factory=not_sent)
    assignee_id: Identifier | None = Field(default_factory=not_sent)


class DeletedVersion(Input):
    version: Identifier


class NewComment(Input):
    text: str = Field(min_length=1, max_length=10_000)


class Person(BaseModel):
    id: int
    name: str


class TaskRow(BaseModel):
    id: int
    title: str
    status: StatusName
    priority: int
    due_date: date | None
    version: int
    created_at: datetime
    updated_at: datetime
    closed_at: datetime | None
    assignee: Person | None


class TaskAnswer(TaskRow):
    description: str
    creator: Person


class TaskList(BaseModel):
    items: list[TaskRow]
    next: int | None


class ActivityLine(BaseModel):
    id: int
    verb: str
    data: dict[str, Any]
    created_at: datetime
    actor: Person | None


class ActivityList(BaseModel):
    items: list[ActivityLine]


@router.route("GET", "/api/tasks", permission="tasks.read", query=TaskQuery, answers=TaskList, transaction=False)
def list_tasks(context: Context) -> bytes:
    """The tasks, newest first, a page at a time"""
    return list_json(context, context.query)


@router.route("POST", "/api/tasks", permission="tasks.write", body=NewTask, answers=TaskAnswer, status=201)
def create_task(context: Context) -> Response:
    """Create a task"""
    task = service.create(context.session, context.user, **context.body.model_dump())
    return _task(context, task.id, 201)


@router.route("GET", "/api/tasks/<id:task_id>", permission="tasks.read", answers=TaskAnswer)
def get_task(context: Context, task_id: int) -> bytes:
    """One task"""
    return queries.task_json(context.session, task_id)


@router.route("PATCH", "/api/tasks/<id:task_id>", permission="tasks.write", body=TaskChange, answers=TaskAnswer)
def change_task(context: Context, task_id: int) -> Response:
    """Change the fields that are sent; needs the version that was read, else 409 with the current state"""
    body: TaskChange = context.body
    changes = body.model_dump(exclude_unset=True, exclude={"version"})
    service.change(context.session, context.user, task_id, body.version, changes)
    return _task(context, task_id)


@router.route("DELETE", "/api/tasks/<id:task_id>", permission="tasks.write", query=DeletedVersion, status=204)
def delete_task(context: Context, task_id: int) -> tuple[bytes, int]:
    """Delete a task in the version that was read, else 409 with the current state; its history stays"""
    service.delete(context.session, context.user, task_id, context.query.version)
    return b"", 204


@router.route(
    "GET", "/api/tasks/<id:task_id>/activity", permission="tasks.read", query=ActivityQuery, answers=ActivityList
)
def task_activity(context: Context, task_id: int) -> bytes:
    """Who did what to a task, newest first"""
    return queries.activity_json(context.session, task_id, context.query)


@router.route(
    "POST",
    "/api/tasks/<id:task_id>/comments",
    permission="tasks.write",
    body=NewComment,
    answers=ActivityLine,
    status=201,
)
def comment_on_task(context: Context, task_id: int) -> tuple[dict[str, Any], int]:
    """Say something about a task"""
    line = service.comment(context.session, context.user, task_id, context.body.text)
    actor = {"id": context.user.id, "name": context.user.name}
    return {"id": line.id, "verb": line.verb, "data": line.data, "created_at": line.created_at, "actor": actor}, 201


def list_json(context: Context, query: TaskQuery) -> bytes:
    """A page of the list, from the cache if it is one that everybody looks at."""

    def make() -> bytes:
        return context.read(lambda session: queries.tasks_json(session, query))

    if not query.everybodys:
        return make()
    return context.services.cache.get(service.CACHE, query.model_dump_json(exclude_none=True), make)


def _task(context: Context, task_id: int, status: int = 200) -> Response:
    """A task as the answer to a write, with the place to read it from again if it is too large to be kept."""
    content = queries.task_json(context.session, task_id)
    return Response(content, status, {"Content-Location": f"/api/tasks/{task_id}"}, content_type="application/json")
