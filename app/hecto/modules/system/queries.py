"""What PostgreSQL says of itself to the application: its own sessions, which are those of the instances, and sizes."""

from __future__ import annotations

from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

from hecto.fleet.top import statements

# So many of the statements that took the most time are shown.
SLOWEST = 5
LONGEST_TEXT = 300

_REVISION = text("SELECT version_num FROM alembic_version")
# Texts here have no values in them, unlike those of sessions, which would show what people wrote. Those of other users
# are left out: the application sees no text of theirs.
_SLOWEST = text(r"""
    SELECT queryid::text AS id, left(query, :longest) AS text, calls, mean_exec_time / 1000 AS mean,
           total_exec_time / 1000 AS total
      FROM pg_stat_statements
     WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database())
       AND userid = to_regrole(current_user)::oid
       -- Not those of this very page.
       AND query NOT LIKE '%pg\_%'
     ORDER BY total_exec_time DESC LIMIT :most
""")
_TEXTS = text("""
    SELECT DISTINCT ON (queryid) queryid::text AS id, left(query, :longest) AS text
      FROM pg_stat_statements WHERE queryid = ANY(CAST(:ids AS bigint[])) AND query IS NOT NULL
""")


def database(session: Session) -> dict[str, Any]:
    """Everything that is shown of the database, in five statements at most."""
    found: dict[str, Any] = session.execute(text(_literal(statements.NOW))).scalar_one()
    found |= session.execute(text(_literal(statements.SELDOM))).scalar_one()
    found["revision"] = session.scalar(_REVISION)
    has_statements = found.pop("statements")
    found["slow"] = _slowest(session) if has_statements else None
    _name(session, found, has_statements)
    return found


def _slowest(session: Session) -> list[dict[str, Any]]:
    rows = session.execute(_SLOWEST, {"longest": LONGEST_TEXT, "most": SLOWEST})
    return [dict(row._mapping) for row in rows]


def _name(session: Session, found: dict[str, Any], has_statements: bool) -> None:
    """Give sessions that hold others up the text of their statement without its values, where it is known."""
    shown = [one for one in (found["transaction"], found["query"], *found["waiting"]) if one]
    ids = [one["id"] for one in shown if one.get("id")]
    texts: dict[str, str] = {}
    if ids and has_statements:
        rows = session.execute(_TEXTS, {"longest": LONGEST_TEXT, "ids": ids})
        texts = {row.id: row.text for row in rows}
    for one in shown:
        one["text"] = texts.get(one.pop("id", None) or "", "")


def _literal(statement: str) -> str:
    """A statement with colons that are PostgreSQL's own, not SQLAlchemy's."""
    return statement.replace(":", r"\:")
