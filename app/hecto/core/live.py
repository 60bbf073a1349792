"""Telling browsers what changed: events that leave after the commit, to everybody in a room on any instance."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy.orm import Session

from hecto.core import unit_of_work

Send = Callable[[str, str, dict[str, Any]], None]


def user_room(user_id: int) -> str:
    """The room of everything that one user has open."""
    return f"user:{user_id}"


def session_room(session_id: str) -> str:
    """The room of everything that one sign-in has open."""
    return f"session:{session_id}"


def list_room(name: str) -> str:
    """The room of those who look at a list."""
    return f"list:{name}"


class Live:
    """Sends events; the real-time server puts in how."""

    def __init__(self) -> None:
        self.send: Send = lambda room, event, payload: None

    def after_commit(self, session: Session, room: str, event: str, payload: dict[str, Any]) -> None:
        """Send an event to a room once the unit of work has been committed, and not at all if it fails."""
        unit_of_work.after_commit(session, lambda: self.send(room, event, payload))
