"""Who hears of what: the rooms that browsers are in, on any instance."""

from __future__ import annotations

# Sent to a sign-in's room; each instance then closes its sockets: for good, or to come back with what it may do now.
SESSION_ENDED, SESSION_CHANGED = "session.ended", "session.changed"


def user_room(user_id: int) -> str:
    """The room of everything that one user has open."""
    return f"user:{user_id}"


def session_room(session_id: str) -> str:
    """The room of everything that one sign-in has open."""
    return f"session:{session_id}"


def list_room(name: str) -> str:
    """The room of those who look at a list."""
    return f"list:{name}"


def record_room(kind: str, record_id: int) -> str:
    """The room of those who look at one record."""
    return f"{kind}:{record_id}"
