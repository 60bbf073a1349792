"""Reads of users and sign-ins."""

from __future__ import annotations

from sqlalchemy import text
from sqlalchemy.orm import Session

from hecto.core.db import containing
from hecto.core.gate import SessionRecord
from hecto.core.input import Input
from hecto.core.permissions import EVERYTHING

# One statement: the sign-in, its user, and what all of the user's roles permit.
_SESSION = text("""
    SELECT s.id, s.kind, s.secret_digest, extract(epoch FROM s.expires_at)::float8 AS expires_at,
           u.id AS user_id, u.name, u.email,
           coalesce((SELECT array_agg(DISTINCT p)
                       FROM user_role ur JOIN role r ON r.id = ur.role_id, unnest(r.permissions) AS p
                      WHERE ur.user_id = u.id), '{}') AS permissions
      FROM user_session s
      JOIN app_user u ON u.id = s.user_id
     WHERE s.id = :id AND s.revoked_at IS NULL AND s.expires_at > now() AND u.active
""")

_USERS = text("""
    SELECT coalesce(json_agg(row_to_json(page)), '[]')::text
      FROM (SELECT u.id, u.name, u.email, u.active, u.version,
                   ARRAY(SELECT r.name FROM user_role ur JOIN role r ON r.id = ur.role_id
                          WHERE ur.user_id = u.id ORDER BY r.name) AS roles
              FROM app_user u
             WHERE (CAST(:id AS bigint) IS NULL OR u.id = :id)
               AND (CAST(:q AS text) IS NULL OR u.name ILIKE :q OR u.email ILIKE :q)
             ORDER BY lower(u.name), u.id
             LIMIT :limit) AS page
""")

_NAMES = text("SELECT id, name FROM app_user WHERE active ORDER BY lower(name), id LIMIT 1000")

# Who may do something, by any of their roles; of these ids or names only, where some are given.
_PERMITTED = text("""
    SELECT u.id, u.name
      FROM app_user u
     WHERE u.active
       AND EXISTS (SELECT FROM user_role ur JOIN role r ON r.id = ur.role_id
                    WHERE ur.user_id = u.id AND r.permissions && CAST(:permissions AS text[]))
       AND (CAST(:ids AS bigint[]) IS NULL OR u.id = ANY(CAST(:ids AS bigint[])))
       AND (CAST(:names AS text[]) IS NULL
            OR lower(u.name) = ANY(SELECT lower(n) FROM unnest(CAST(:names AS text[])) AS n))
     ORDER BY lower(u.name), u.id
     LIMIT 1000
""")


class UserQuery(Input):
    """Filters of the list of users."""

    q: str | None = None


def load_session(session: Session, session_id: str) -> SessionRecord | None:
    """The sign-in with this id if it stands: neither revoked nor expired, its user active."""
    row = session.execute(_SESSION, {"id": session_id}).one_or_none()
    if row is None:
        return None
    return SessionRecord(
        session_id=row.id,
        kind=row.kind,
        secret_digest=row.secret_digest,
        expires_at=row.expires_at,
        user_id=row.user_id,
        name=row.name,
        email=row.email,
        permissions=list(row.permissions),
    )


def users_json(session: Session, q: str | None = None, user_id: int | None = None, limit: int = 200) -> bytes:
    """A JSON array of users with their roles, by name."""
    pattern = containing(q) if q else None
    return str(session.scalar(_USERS, {"q": pattern, "id": user_id, "limit": limit})).encode()


def assignable(session: Session) -> list[tuple[int, str]]:
    """Id and name of every active user, by name, for choices."""
    return [(row.id, row.name) for row in session.execute(_NAMES)]


def permitted(
    session: Session, permission: str, *, ids: list[int] | None = None, names: list[str] | None = None
) -> list[tuple[int, str]]:
    """Id and name of the active users who have the permission, by name; of certain ids or names, where given."""
    values = {"permissions": [permission, EVERYTHING], "ids": ids, "names": names}
    return [(row.id, row.name) for row in session.execute(_PERMITTED, values)]


def is_active(session: Session, user_id: int) -> bool:
    """Whether there is such a user and the account is active."""
    return bool(session.scalar(text("SELECT active FROM app_user WHERE id = :id"), {"id": user_id}))
