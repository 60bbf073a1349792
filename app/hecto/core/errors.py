"""What can go wrong in the domain, in words for people; the web layer turns it into RFC 9457 problems."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple


class FieldError(NamedTuple):
    """One wrong field: a JSON pointer into the body or query, and what to do about it."""

    path: str
    detail: str


class DomainError(Exception):
    """The base of every error that a caller may be told about."""

    status = 500
    title = "Something went wrong"
    headers: Mapping[str, str] = {}

    def __init__(self, detail: str, **extra: Any) -> None:
        super().__init__(detail)
        self.detail = detail
        self.extra = extra


class BadRequest(DomainError):
    status = 400
    title = "The request cannot be understood"


class Unauthenticated(DomainError):
    status = 401
    title = "Sign in first"
    headers = {"WWW-Authenticate": "Bearer"}


class SessionEnded(Unauthenticated):
    """What was sent belongs to no sign-in that stands."""

    def __init__(self) -> None:
        super().__init__("This sign-in has ended. Sign in again.")


class Forbidden(DomainError):
    status = 403
    title = "You may not do this"


class NotFound(DomainError):
    status = 404
    title = "There is no such thing"


class Conflict(DomainError):
    """Somebody else was faster. ``current`` is the state that stands now."""

    status = 409
    title = "Somebody changed this in the meantime"


class TooLarge(DomainError):
    status = 413
    title = "The request is too large"


class UnsupportedMedia(DomainError):
    status = 415
    title = "This kind of content is not accepted here"


class Invalid(DomainError):
    """Values that cannot be accepted, each with its field."""

    status = 422
    title = "Some values cannot be accepted"

    def __init__(self, errors: list[FieldError]) -> None:
        super().__init__("; ".join(f"{error.path or '/'}: {error.detail}" for error in errors))
        self.errors = errors
        self.extra = {"errors": [error._asdict() for error in errors]}


class TooManyRequests(DomainError):
    status = 429
    title = "Too many requests"

    def __init__(self, detail: str, retry_after: int, headers: Iterable[tuple[str, str]] = ()) -> None:
        super().__init__(detail, retry_after=retry_after)
        self.headers = {"Retry-After": str(retry_after), **dict(headers)}


class Unavailable(DomainError):
    """A service behind this instance does not answer.

    504, not 503: nginx takes 503 for an instance that drains and would take one after the other out of
    the pool when the database is away for all of them.
    """

    status = 504
    title = "A service that Hecto needs does not answer"
    headers = {"Retry-After": "2"}
