"""What can be done with tasks. Every change writes its activity in the same transaction."""

from __future__ import annotations

from datetime import date
from typing import Any

import orjson
from sqlalchemy import select
from sqlalchemy.orm import Session

from hecto.core import activity, clock, outbox
from hecto.core.errors import Conflict, FieldError, Invalid, NotFound
from hecto.core.live import list_room, user_room
from hecto.core.outbox import Message
from hecto.core.permissions import Actor
from hecto.modules.tasks import queries
from hecto.modules.tasks.models import Status, Task
from hecto.modules.users import queries as users

SUBJECT = "task"
ROOM = list_room("tasks")
CACHE = "tasks"


def create(
    session: Session,
    actor: Actor,
    *,
    title: str,
    description: str = "",
    priority: int = 3,
    due_date: date | None = None,
    assignee_id: int | None = None,
) -> Task:
    """Create an open task; raises Invalid when the assignee cannot be given work."""
    _check_assignee(session, assignee_id)
    task = Task(
        title=title,
        description=description,
        priority=priority,
        due_date=due_date,
        creator_id=actor.id,
        assignee_id=assignee_id,
        status=Status.OPEN,
    )
    session.add(task)
    session.flush()
    activity.record(session, actor, SUBJECT, task.id, "created", {"title": title})
    _tell(session, actor, task, "task.created", assignee_id)
    return task


def change(session: Session, actor: Actor, task_id: int, version: int, changes: dict[str, Any]) -> Task:
    """Change fields of a task; ``changes`` has only those to be changed.

    Raises Conflict with the current state when somebody else was faster, NotFound, or Invalid for the assignee.
    A change that changes nothing writes nothing.
    """
    task = _get(session, task_id, version)
    if "assignee_id" in changes and changes["assignee_id"] != task.assignee_id:
        _check_assignee(session, changes["assignee_id"])
    before = {name: getattr(task, name) for name in changes}
    different = {name: value for name, value in changes.items() if value != before[name]}
    if not different:
        return task
    for name, value in different.items():
        setattr(task, name, value)
    if "status" in different:
        task.closed_at = clock.now() if task.status == Status.DONE else None
    session.flush()
    activity.record(
        session,
        actor,
        SUBJECT,
        task.id,
        _verb(different, before),
        {name: [_plain(before[name]), _plain(value)] for name, value in different.items()},
    )
    _tell(session, actor, task, "task.updated", task.assignee_id, before.get("assignee_id"))
    return task


def delete(session: Session, actor: Actor, task_id: int, version: int) -> None:
    """Delete a task; its history stays. Raises Conflict with the current state, or NotFound."""
    task = _get(session, task_id, version)
    activity.record(session, actor, SUBJECT, task_id, "deleted", {"title": task.title})
    _tell(session, actor, task, "task.deleted", task.assignee_id)
    session.delete(task)
    session.flush()


def comment(session: Session, actor: Actor, task_id: int, content: str) -> activity.Activity:
    """Say something about a task; raises NotFound."""
    # Held, so that two comments are told in the order of their commits.
    task = session.scalar(select(Task).where(Task.id == task_id).with_for_update())
    if task is None:
        raise NotFound(f"There is no task {task_id}.")
    line = activity.record(session, actor, SUBJECT, task_id, "commented", {"text": content})
    _tell(session, actor, task, "task.updated", task.assignee_id, task.creator_id)
    return line


def _get(session: Session, task_id: int, version: int) -> Task:
    """The task, locked, in the version that the caller has seen."""
    task = session.scalar(select(Task).where(Task.id == task_id).with_for_update())
    if task is None:
        raise NotFound(f"There is no task {task_id}.")
    if task.version != version:
        current = orjson.loads(queries.task_json(session, task_id))
        raise Conflict(
            f"You changed version {version}, by now it is version {task.version}. Look at what changed and try again.",
            current=current,
        )
    return task


def _check_assignee(session: Session, assignee_id: int | None) -> None:
    if assignee_id is None:
        return
    if not users.is_active(session, assignee_id):
        raise Invalid([FieldError("/assignee_id", "There is no active user with this id.")])


def _verb(changes: dict[str, Any], before: dict[str, Any]) -> str:
    """The one word that tells most about a change."""
    if changes.get("status") == Status.DONE:
        return "closed"
    if "status" in changes and before["status"] == Status.DONE:
        return "reopened"
    if list(changes) == ["assignee_id"]:
        return "assigned"
    return "changed"


def _plain(value: Any) -> Any:
    """The value as JSON keeps it."""
    return value.isoformat() if isinstance(value, date) else value


def _tell(session: Session, actor: Actor, task: Task, event: str, *users: int | None) -> None:
    """Tell those who look at the list and those whom the task concerns; pages fetch what they show themselves."""
    payload = {"id": task.id, "version": task.version, "title": task.title, "status": task.status, "by": actor.id}
    concerned = sorted({user for user in users if user is not None})
    messages = [Message(ROOM, event, payload)]
    messages += [Message(user_room(user), event, {**payload, "concerns_you": True}) for user in concerned]
    outbox.tell(session, f"{SUBJECT}:{task.id}", messages, drops=[f"cache:{CACHE}"])
