"""A write that comes twice happens once, and both get the same answer.

nginx repeats a request at the next instance when one dies under it, and browsers repeat what got no answer. Each write
carries a key: the client's own (``Idempotency-Key``) or the one that nginx gives every request (``X-Request-Key``).
The answer is stored under the key as the last statement of the write's own transaction. So the key stands exactly when
the work does, and of two that run side by side one commits, while the other waits at the unique index, finds the key
taken, rolls its work back and gives the stored answer.

The IETF draft answers 409 to a client that sends its key again while the first request is at work. Here it waits and
gets the answer: a browser whose connection broke is not to blame. Only a first request that outlasts every wait makes
a 409.
"""

from __future__ import annotations

import hashlib
import logging
import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

import orjson
from flask import Request, Response
from sqlalchemy import LargeBinary, SmallInteger, Text, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Mapped, Session, mapped_column

from hecto.core import closing
from hecto.core.closing import Repeated, StillAtWork
from hecto.core.db import Base, Database
from hecto.core.errors import BadRequest, DomainError, NotFound, Unavailable
from hecto.core.security import Tokens
from hecto.core.unit_of_work import OutcomeUnknown, took_too_long

log = logging.getLogger(__name__)

# nginx repeats within seconds; a client may come back after a night.
HOP_LIFE = timedelta(minutes=15)
CLIENT_LIFE = timedelta(hours=24)
LONGEST_KEY = 200
# Larger answers are made anew from the record that they show, which Content-Location names. A key is read once in a
# thousand writes, so a table full of long answers would cost far more than it saves.
LARGEST_KEPT = 64 * 1024
LEFT_OUT = "left-out"
# Of the answers that repeat these are all that matter to a client; cookies are never stored.
KEPT_HEADERS = ("Location", "Content-Location", "HX-Trigger", "HX-Redirect", "HX-Location", "ETag")
# One write in so many removes a batch of expired keys: the cost grows with the writes, not with the instances.
SWEEP_ONE_IN = 100
SWEEP_BATCH = 500

_FIND = text("SELECT body_digest, status, content_type, headers, answer FROM request_key WHERE id = :id")
_SWEEP = text("""
    DELETE FROM request_key
     WHERE id IN (SELECT id FROM request_key WHERE expires_at < now() LIMIT :batch FOR UPDATE SKIP LOCKED)
""")


class RequestKey(Base):
    """A write that was done, with its answer. Only ever touched by the statements above."""

    __tablename__ = "request_key"

    id: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    body_digest: Mapped[bytes] = mapped_column(LargeBinary)
    status: Mapped[int] = mapped_column(SmallInteger)
    content_type: Mapped[str] = mapped_column(Text)
    headers: Mapped[dict[str, str]] = mapped_column(JSONB)
    answer: Mapped[bytes] = mapped_column(LargeBinary)
    expires_at: Mapped[datetime] = mapped_column(index=True)

    __table_args__ = ({"comment": "Writes that were done, with their answers, for those that come twice"},)


class KeyReused(DomainError):
    """draft-ietf-httpapi-idempotency-key-header-07, section 2.7."""

    status = 422
    title = "This Idempotency-Key belongs to another request"


class InUse(DomainError):
    """draft-ietf-httpapi-idempotency-key-header-07, section 2.6, for a first request that takes very long."""

    status = 409
    title = "The first request with this Idempotency-Key is still being worked on"
    headers = {"Retry-After": "2"}


@dataclass(frozen=True, slots=True)
class Key:
    """The key of one write: a digest of who sends what to where under which key, and one of the body."""

    id: bytes
    body_digest: bytes
    life: timedelta


def read(request: Request, user_id: int | None, tokens: Tokens) -> Key | None:
    """The key of a user's request; None when it has none. The client's goes first: it also survives nginx itself."""
    client = request.headers.get("Idempotency-Key")
    given = client or request.headers.get("X-Request-Key")
    if not given:
        return None
    if len(given) > LONGEST_KEY:
        raise BadRequest(f"An Idempotency-Key has at most {LONGEST_KEY} characters; a UUID is a good one.")
    kind = "client" if client else "hop"
    scope = [user_id or 0, request.method, request.full_path, kind, given]
    return Key(
        hashlib.sha256(orjson.dumps(scope)).digest(),
        tokens.body_digest(request.get_data(cache=True, parse_form_data=False)),
        CLIENT_LIFE if client else HOP_LIFE,
    )


def keep(session: Session, key: Key, response: Response) -> None:
    """Have the answer stored under the key with the last statement of the transaction."""
    headers = {name: response.headers[name] for name in KEPT_HEADERS if name in response.headers}
    answer = response.get_data()
    if len(answer) > LARGEST_KEPT:
        headers[LEFT_OUT], answer = "true", b""
    values = {
        "id": key.id,
        "body_digest": key.body_digest,
        "status": response.status_code,
        "content_type": response.content_type,
        "headers": orjson.dumps(headers).decode(),
        "answer": answer,
        "life": key.life,
    }
    closing.keep(session, values)


def find(session: Session, key: Key, represent: Callable[[str], bytes] = lambda _: b"") -> Response | None:
    """The answer that was stored under the key; raises KeyReused when it was for another body.

    ``represent`` gives what is at a path now, for an answer that was too large to keep.
    """
    row = session.execute(_FIND, {"id": key.id}).one_or_none()
    if row is None:
        return None
    if bytes(row.body_digest) != key.body_digest:
        raise KeyReused("It was used for a request with another body. Make a new key for each thing you do.")
    headers, answer = dict(row.headers), bytes(row.answer)
    if headers.pop(LEFT_OUT, None):
        answer = _anew(headers, represent)
    response = Response(answer, row.status, headers, content_type=row.content_type)
    response.headers["Idempotency-Replayed"] = "true"
    return response


def _anew(headers: dict[str, str], represent: Callable[[str], bytes]) -> bytes:
    """The content of an answer that was left out; without a body when what it showed is gone."""
    where = headers.get("Content-Location")
    if where is None:
        # A part of a page: the page shows it when it is loaded again.
        headers["HX-Refresh"] = "true"
        return b""
    try:
        return represent(where)
    except NotFound:
        return b""


def sweep(database: Database) -> None:
    """Remove a batch of keys whose time is over; beside the request that happened to be the one in a hundred."""
    try:
        with database.write_session() as session:
            session.execute(_SWEEP, {"batch": SWEEP_BATCH})
            session.commit()
    except SQLAlchemyError as error:
        log.warning("expired keys are removed at another time: %s", error)


def is_time_to_sweep() -> bool:
    """Whether this write is one of those that clean up."""
    return random.randrange(SWEEP_ONE_IN) == 0


def once(key: Key, attempt: Callable[[], Response], stored: Callable[[], Response | None]) -> Response:
    """Make a keyed attempt; where it fails, give the answer that stands under its key, if one does.

    A commit whose outcome is unknown is attempted again: if it did stand, the key is taken and the answer found. If
    that cannot be found out, the outcome stays unknown, and nobody is told that nothing was changed.
    """
    unknown: OutcomeUnknown | None = None
    for last in (False, True):
        try:
            return attempt()
        except Exception as error:
            failure = _for_the_client(error, key)
        if isinstance(failure, OutcomeUnknown):
            unknown = failure
        elif isinstance(failure, Unavailable | InUse):
            raise unknown or failure
        try:
            found = stored()
        except Unavailable as error:
            raise unknown or error from error
        if found is not None:
            return found
        if last or not isinstance(failure, OutcomeUnknown | Repeated):
            raise failure
    raise AssertionError("unreachable: the last attempt returns or raises")


def _for_the_client(error: Exception, key: Key) -> Exception:
    if not isinstance(error, StillAtWork):
        return error
    if key.life == CLIENT_LIFE:
        return InUse("It was waited for in vain. Send the same request again in a few seconds to get its answer.")
    return took_too_long()
