"""The trail of a request: what finds it again in nginx's log, in the journal and in PostgreSQL's log."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextvars import ContextVar
from typing import Any

# nginx's ids are 32 hexadecimal digits. Who comes past nginx may say what he likes, and it goes into every statement:
# what is made of these alone needs no quoting there, nor anywhere else.
_ID = re.compile(r"[A-Za-z0-9._~-]{1,64}")


class Trail:
    """What is known of the request that this greenlet works for, and what it has cost the database so far."""

    __slots__ = ("_comment", "database_seconds", "request_id", "route", "statements", "traceparent", "user")

    def __init__(self, request_id: str, route: str = "") -> None:
        self.request_id = request_id
        self.route = route
        self.user = ""
        self.traceparent = ""
        self.statements = 0
        self.database_seconds = 0.0
        self._comment = ""

    def lead(self, route: str) -> None:
        """Note which route the request takes."""
        self.route = route
        self._comment = ""

    def identify(self, user_id: int) -> None:
        """Note who asks."""
        self.user = str(user_id)
        self._comment = ""

    def describe(self) -> dict[str, str]:
        """What is known, by the names that every log uses."""
        known = {"request_id": self.request_id, "route": self.route, "user": self.user}
        return {name: value for name, value in known.items() if value}

    @property
    def comment(self) -> str:
        """What is written behind each statement, as https://google.github.io/sqlcommenter/spec/ says it."""
        if not self._comment:
            # Sorted by name. No value has a character that the format would escape, or psycopg2 read as its own.
            known = f",request_id='{self.request_id}'" if self.request_id else ""
            known += f",route='{self.route}'" if self.route else ""
            known += f",traceparent='{self.traceparent}'" if self.traceparent else ""
            known += f",user='{self.user}'" if self.user else ""
            self._comment = f" /*{known[1:]}*/" if known else " "
        return self._comment


# Of the greenlet that handles a request, and of those that it spawns.
current: ContextVar[Trail | None] = ContextVar("trail", default=None)


def begin(environ: Mapping[str, Any]) -> Trail:
    """Begin the trail of a request."""
    said = environ.get("HTTP_X_REQUEST_ID", "")
    trail = Trail(said if _ID.fullmatch(said) else "")
    current.set(trail)
    return trail


def identify(user_id: int) -> None:
    """Note who asks, where there is a request."""
    if trail := current.get():
        trail.identify(user_id)
