"""Reads of tasks. Lists leave PostgreSQL as finished JSON: no row is ever an object here."""

from __future__ import annotations

from functools import cache
from typing import Any, Literal

import orjson
from pydantic import Field
from sqlalchemy import TextClause, text
from sqlalchemy.orm import Session

from hecto.core.db import beginning, containing
from hecto.core.errors import NotFound
from hecto.core.input import LARGEST_ID, Input
from hecto.core.permissions import Actor

_COLUMNS = """
    t.id, t.title, t.status, t.priority, t.due_date, t.version, t.created_at, t.updated_at, t.closed_at,
    CASE WHEN a.id IS NOT NULL THEN json_build_object('id', a.id, 'name', a.name) END AS assignee
"""

# As many tasks does a page of the list have.
PAGE = 50
# An index of trigrams finds any part of a title that is at least as long. Shorter ones are looked for where words
# begin, which it finds as well.
SHORTEST_PART = 3

# The filters are put together from these, so that PostgreSQL plans only what is asked for.
_FILTERS = {
    "status": "t.status = :status",
    "assignee": "t.assignee_id = :assignee",
    "q": "t.title ILIKE :q",
    "word": "(t.title ILIKE :word OR t.title ILIKE '% ' || :word)",
    "after": "t.id < :after",
}

_TASK = text(f"""
    SELECT row_to_json(page)::text
      FROM (SELECT {_COLUMNS}, t.description, json_build_object('id', c.id, 'name', c.name) AS creator
              FROM task t
              JOIN app_user c ON c.id = t.creator_id
              LEFT JOIN app_user a ON a.id = t.assignee_id
             WHERE t.id = :id) AS page
""")  # noqa: S608  put together from constants of this file

_EXISTS = text("SELECT EXISTS (SELECT 1 FROM task WHERE id = :id)")

_ACTIVITY = text("""
    SELECT coalesce(json_agg(row_to_json(page)), '[]')::text
      FROM (SELECT y.id, y.verb, y.data, y.created_at,
                   CASE WHEN u.id IS NOT NULL THEN json_build_object('id', u.id, 'name', u.name) END AS actor
              FROM activity y
              LEFT JOIN app_user u ON u.id = y.actor_id
             WHERE y.subject_type = 'task' AND y.subject_id = :id
               AND (CAST(:after AS bigint) IS NULL OR y.id < :after)
             ORDER BY y.id DESC
             LIMIT :limit) AS page
""")

_COUNTS = text("""
    SELECT coalesce(json_object_agg(status, number), '{}')::text
      FROM (SELECT status, count(*) AS number FROM task GROUP BY status) AS found
""")

# Who changed a field last, for each of some fields.
_EDITORS = text("""
    SELECT DISTINCT ON (f.name) f.name, u.name AS editor
      FROM unnest(CAST(:fields AS text[])) AS f (name)
      JOIN activity y ON y.subject_type = 'task' AND y.subject_id = :id AND y.verb <> 'created'
                     AND jsonb_exists(y.data, f.name)
      JOIN app_user u ON u.id = y.actor_id
     ORDER BY f.name, y.id DESC
""")

_LATEST = text("""
    SELECT coalesce(json_agg(row_to_json(page)), '[]')::text
      FROM (SELECT y.id, y.verb, y.data, y.created_at, y.subject_id AS task_id,
                   coalesce(t.title, y.data->>'title', '') AS title, t.id IS NOT NULL AS stands,
                   json_build_object('id', u.id, 'name', u.name) AS actor
              FROM activity y
              LEFT JOIN task t ON t.id = y.subject_id
              JOIN app_user u ON u.id = y.actor_id
             WHERE y.subject_type = 'task'
             ORDER BY y.id DESC
             LIMIT :limit) AS page
""")


class TaskQuery(Input):
    """Filters of the list of tasks; ``after`` is the ``next`` of the page before."""

    status: Literal["open", "doing", "done"] | None = None
    assignee: int | None = Field(default=None, ge=1, le=LARGEST_ID)
    q: str | None = Field(default=None, max_length=200)
    limit: int = Field(default=PAGE, ge=1, le=200)
    after: int | None = Field(default=None, ge=1, le=LARGEST_ID)

    @property
    def everybodys(self) -> bool:
        """Whether many look at this page; of the others there are as many as somebody cares to ask for."""
        return self.q is None and self.after is None and self.assignee is None and self.limit <= PAGE


class ActivityQuery(Input):
    """Which part of a task's history."""

    limit: int = Field(default=100, ge=1, le=500)
    after: int | None = Field(default=None, ge=1, le=LARGEST_ID)


@cache
def _list_statement(filters: tuple[str, ...]) -> TextClause:
    where = "WHERE " + " AND ".join(_FILTERS[name] for name in filters) if filters else ""
    # One row more than asked for tells whether there is a next page.
    return text(f"""
        WITH page AS (
            SELECT {_COLUMNS}
              FROM task t LEFT JOIN app_user a ON a.id = t.assignee_id
              {where}
             ORDER BY t.id DESC LIMIT :limit + 1
        ), shown AS (SELECT * FROM page ORDER BY id DESC LIMIT :limit)
        SELECT json_build_object(
            'items', coalesce((SELECT json_agg(row_to_json(shown) ORDER BY id DESC) FROM shown), '[]'),
            'next', CASE WHEN (SELECT count(*) FROM page) > :limit THEN (SELECT min(id) FROM shown) END)::text
    """)  # noqa: S608  put together from constants of this file


def tasks_json(session: Session, query: TaskQuery) -> bytes:
    """``{"items": [...], "next": id or null}``, newest first. ``next`` is null on the last page."""
    values: dict[str, Any] = query.model_dump(exclude_none=True)
    if "q" in values:
        values |= _search(values.pop("q"))
    filters = tuple(name for name in _FILTERS if name in values)
    return str(session.scalar(_list_statement(filters), values)).encode()


def _search(words: str) -> dict[str, str]:
    return {"q": containing(words)} if len(words) >= SHORTEST_PART else {"word": beginning(words)}


def visible(session: Session, actor: Actor, task_id: int) -> bool:
    """Whether somebody may see a task and hear of what happens to it."""
    return actor.may("tasks.read") and bool(session.scalar(_EXISTS, {"id": task_id}))


def task_json(session: Session, task_id: int) -> bytes:
    """One task with its description; raises NotFound."""
    found = session.scalar(_TASK, {"id": task_id})
    if found is None:
        raise NotFound(f"There is no task {task_id}.")
    return str(found).encode()


def activity_json(session: Session, task_id: int, query: ActivityQuery) -> bytes:
    """``{"items": [...]}``: the history of a task, newest first; raises NotFound."""
    if session.scalar(text("SELECT id FROM task WHERE id = :id"), {"id": task_id}) is None:
        raise NotFound(f"There is no task {task_id}.")
    values = {"id": task_id, "limit": query.limit, "after": query.after}
    return b'{"items":' + str(session.scalar(_ACTIVITY, values)).encode() + b"}"


def task(session: Session, task_id: int) -> dict[str, Any]:
    """One task for a page, see task_json."""
    found: dict[str, Any] = orjson.loads(task_json(session, task_id))
    return found


def activity(session: Session, task_id: int, limit: int = 100) -> list[dict[str, Any]]:
    """The history of a task for a page, newest first."""
    found: dict[str, list[dict[str, Any]]] = orjson.loads(activity_json(session, task_id, ActivityQuery(limit=limit)))
    return found["items"]


def counts_json(session: Session) -> bytes:
    """How many tasks there are by status, where there are any. It counts them all, so it is for the cache."""
    return str(session.scalar(_COUNTS)).encode()


def editors(session: Session, task_id: int, fields: list[str]) -> dict[str, str]:
    """The name of whoever changed each of these fields last."""
    return {row.name: row.editor for row in session.execute(_EDITORS, {"id": task_id, "fields": fields})}


def latest_activity(session: Session, limit: int = 15) -> list[dict[str, Any]]:
    """What happened last on any task, newest first."""
    found: list[dict[str, Any]] = orjson.loads(str(session.scalar(_LATEST, {"limit": limit})))
    return found
