"""The last statement of a write: its answer under its key, and what it has to tell, in one round trip.

Both stand exactly when the work does, because they are part of its transaction.
"""

from __future__ import annotations

from typing import Any

import orjson
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from hecto.core.outbox import LINES, Pending

ANSWER = "answer"
# https://www.postgresql.org/docs/current/errcodes-appendix.html
LOCK_NOT_AVAILABLE = "55P03"

_TELL = """
    INSERT INTO outbox (subject, drops, messages)
    SELECT subject, drops, messages
      FROM ROWS FROM (jsonb_to_recordset(CAST(:lines AS jsonb)) AS (subject text, drops text[], messages jsonb))
           WITH ORDINALITY
     ORDER BY ordinality
    RETURNING id
"""
_KEEP = """
    INSERT INTO request_key (id, body_digest, status, content_type, headers, answer, expires_at)
    VALUES (:id, :body_digest, :status, :content_type, CAST(:headers AS jsonb), :answer, now() + :life)
    ON CONFLICT (id) DO NOTHING
    RETURNING id
"""
_TOLD = text(f"WITH told AS ({_TELL}) SELECT ARRAY(SELECT id FROM told) AS told, true AS kept")  # noqa: S608
_KEPT_AND_TOLD = text(
    f"WITH told AS ({_TELL}), kept AS ({_KEEP})"  # noqa: S608
    " SELECT ARRAY(SELECT id FROM told) AS told, EXISTS (SELECT FROM kept) AS kept"
)


class Repeated(Exception):
    """The key is taken: the same request has been answered in the meantime."""


class StillAtWork(Exception):
    """The key is in the hands of a first attempt that takes longer than anybody waits for a lock."""


def keep(session: Session, answer: dict[str, Any]) -> None:
    """Have the answer of this unit of work stored under its key: the columns of request_key, ``life`` for its end."""
    session.info[ANSWER] = answer


def write(session: Session) -> Pending:
    """Write what there is to keep and to tell; returns the latter.

    Raises Repeated when the key is taken, after waiting for whoever holds it; StillAtWork when that takes too long.
    """
    pending: Pending = session.info.pop(LINES, None) or Pending()
    answer: dict[str, Any] | None = session.info.pop(ANSWER, None)
    if answer is None and not pending.lines:
        return pending
    values = {"lines": orjson.dumps(pending.lines).decode(), **(answer or {})}
    try:
        row = session.connection().execute(_TOLD if answer is None else _KEPT_AND_TOLD, values).one()
    except DBAPIError as error:
        if answer is not None and getattr(error.orig, "pgcode", None) == LOCK_NOT_AVAILABLE:
            raise StillAtWork from error
        raise
    if not row.kept:
        raise Repeated
    pending.ids = list(row.told)
    return pending
