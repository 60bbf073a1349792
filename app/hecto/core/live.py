"""Who hears of what: the rooms that browsers are in, on any instance."""

from __future__ import annotations

# Sent to a sign-in's room; each instance then closes its sockets: for good, or to come back with what it may do now.
SESSION_ENDED, SESSION_CHANGED = "session.ended", "session.changed"

# Sent to a room for the instances that have its members, {"user": ...} for one of them only: enter the room that
# "room" says as well, leave this one, end the connection. Clients do not see them.
JOIN, LEAVE, DISCONNECT = "!join", "!leave", "!disconnect"

# Rooms that a client does not join by name: it is in them by what it is.
OWN_KINDS = frozenset(("user", "session", "list", "everybody"))


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
    """The room of those who look at a record, which clients join by this name."""
    return f"{kind}:{record_id}"
