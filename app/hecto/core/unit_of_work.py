"""One commit a request: the whole unit runs again when the database asks for it, side effects leave after it."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable
from typing import TypeVar

import gevent
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import Session

from hecto.core import closing, logs, trail
from hecto.core.db import Database, commit
from hecto.core.errors import DomainError, Unavailable

T = TypeVar("T")
log = logging.getLogger(__name__)

ATTEMPTS = 3
# Doubled after each attempt and spread from half to one and a half, so that two rivals do not meet again.
FIRST_PAUSE = 0.05
# Between two looks for a server that restarts, which takes one to three seconds, or for a primary that moves, three to
# six. They are no attempts: nothing was begun.
RESTART_PAUSE = 1.0
# No attempt begins later: nginx gives up on the instance after nine seconds. One that has waited for a pooler in vain
# has had all the time there is. One whose connection was not made in time (CONNECT_TIMEOUT) has not: the next, or nginx
# at another instance, may be served.
LAST_BEGINNING = 7.0

# https://www.postgresql.org/docs/current/errcodes-appendix.html
SERIALIZATION_FAILURE = "40001"
DEADLOCK_DETECTED = "40P01"
# What the server says when it stops or starts; the connection is gone or will be.
SERVER_GOES_AWAY = ("57P01", "57P02", "57P03")
# Somebody else holds the record for too long, or the database is too busy for this statement to end in time.
TOOK_TOO_LONG = (closing.LOCK_NOT_AVAILABLE, "57014")

# Whoever holds locks for longer than this keeps others waiting, in seconds.
LONG_TRANSACTION = 1.0

AFTER_COMMIT = "after_commit"

# Changes nothing, but is a transaction: standbys get the write-ahead log in its order, so what they have of this one
# they have of everything before it.
_MARK = text("SELECT pg_logical_emit_message(true, 'hecto', '')")


class OutcomeUnknown(Unavailable):
    """The connection broke during COMMIT: nobody knows whether the change stands."""

    title = "It is not known whether the change was saved"


def after_commit(session: Session, effect: Callable[[], None]) -> None:
    """Have an effect outside of the database happen once the unit has been committed.

    It never happens when the unit fails, and happens once when the unit takes several attempts. If the instance dies
    between the commit and the effect it does not happen: what must not be lost belongs into the outbox.
    """
    session.info.setdefault(AFTER_COMMIT, []).append(effect)


def run(database: Database, work: Callable[[Session], T]) -> T:
    """Run ``work`` in one transaction, commit, then let its effects out.

    A lost connection, a serialization failure or a deadlock runs the whole of it again, at most three attempts;
    services therefore only flush, and keep effects for after_commit. A connection lost in the COMMIT itself is not
    tried again, since the work may already stand. A server that refuses connections since a moment is waited for, for
    seven seconds. Raises Unavailable when the database does not answer.
    """

    def attempt() -> T:
        begun = time.perf_counter()
        try:
            return _write(database, work)
        finally:
            if (seconds := time.perf_counter() - begun) >= LONG_TRANSACTION:
                took = logs.fields(milliseconds=round(seconds * 1000))
                log.warning("a transaction took long, with the wait for its connection", extra=took)

    return _repeat(database, attempt)


def read(database: Database, work: Callable[[Session], T]) -> T:
    """Run reads, again on a fresh connection when one was lost; raises Unavailable when the database is away."""

    def attempt() -> T:
        with database.read_session() as session:
            return work(session)

    return _repeat(database, attempt)


def report(database: Database, work: Callable[[Session], T]) -> T:
    """Run reads of a report, on a standby where there is one: they may be some moments old.

    Never for what a write follows from, nor for a page that shows people what they have just done.
    """

    def attempt() -> T:
        with database.report_session() as session:
            return work(session)

    return _repeat(database, attempt)


def _repeat(database: Database, attempt: Callable[[], T]) -> T:
    begun = time.monotonic()
    failures = 0
    while True:
        try:
            return attempt()
        except DBAPIError as error:
            if getattr(error.orig, "pgcode", None) in TOOK_TOO_LONG:
                raise took_too_long() from error
            if not may_retry(error):
                raise
            first = RESTART_PAUSE if database.restarts() else FIRST_PAUSE
            if database.refused(error):
                pause = first
            else:
                pause = first * 2**failures
                failures += 1
            # The last look comes as late as it may.
            left = begun + LAST_BEGINNING - time.monotonic()
            if failures == ATTEMPTS or left <= 0:
                raise unavailable() from error
            pause = min(pause * random.uniform(0.5, 1.5), left)
            log.warning("the database failed and is asked again in %.2f s: %s", pause, str(error.orig).strip())
        except PoolTimeout as error:
            raise busy() from error
        gevent.sleep(pause)


def _write(database: Database, work: Callable[[Session], T]) -> T:
    with database.write_session() as session:
        result = work(session)
        session.flush()
        pending = closing.write(session)
        begun = time.perf_counter()
        try:
            certain = commit(session)
        except DBAPIError as error:
            if connection_lost(error):
                raise OutcomeUnknown(
                    "The connection to the database broke while the change was being saved. Look whether it is there "
                    "before you repeat it."
                ) from error
            raise
        if here := trail.current.get():
            here.database_seconds += time.perf_counter() - begun
        if not certain:
            settle(database)
        for effect in session.info.pop(AFTER_COMMIT, ()):
            _let_out(effect)
    if pending.lines:
        _let_out(lambda: database.committed(pending))
    return result


def settle(database: Database) -> None:
    """Return when all that can be read on the primary outlives it; raises OutcomeUnknown where that is not certain.

    A transaction is visible before its standby has it when its own wait was cut short. Whoever answers out of what he
    found there, and not out of a commit of his own, settles it first.
    """

    def mark() -> bool:
        with database.write_session() as session:
            session.execute(_MARK)
            return commit(session)

    try:
        certain = _repeat(database, mark)
    except Unavailable as error:
        raise OutcomeUnknown(
            "The change was saved, but the database went away before a second server had it. Look whether it is there "
            "before you repeat it."
        ) from error
    if not certain:
        raise OutcomeUnknown(
            "The change was saved on one server, and the wait for a second one was cut short. Look in a moment whether "
            "it is there before you repeat it."
        )


def _let_out(effect: Callable[[], None]) -> None:
    """Run one effect. The change stands by now: a failing effect is logged, not reported as a failed request."""
    try:
        effect()
    except Exception:
        log.exception("an effect of a committed change failed")


def connection_lost(error: DBAPIError) -> bool:
    """Whether the connection is gone, so that nothing of its transaction is left in the server."""
    return bool(error.connection_invalidated) or getattr(error.orig, "pgcode", None) in SERVER_GOES_AWAY


def may_retry(error: DBAPIError) -> bool:
    """Whether the same work can succeed when it is done again from the start."""
    code = getattr(error.orig, "pgcode", None)
    if code in (SERIALIZATION_FAILURE, DEADLOCK_DETECTED) or connection_lost(error):
        return True
    # No code at all: the connection could not be made, the server never answered.
    return code is None and type(error.orig).__name__ == "OperationalError"


def unavailable() -> DomainError:
    """What a caller is told when the database is away."""
    return Unavailable("The database did not answer. Nothing was changed. Try again in a moment.")


def took_too_long() -> DomainError:
    """What a caller is told when a lock or a statement was waited for in vain."""
    return Unavailable(
        "Somebody else is at work on the same record, or the database is very busy. Nothing was changed. "
        "Try again in a moment."
    )


def busy() -> DomainError:
    """What a caller is told when every database connection of this instance is in use."""
    return Unavailable("This instance is busy: no database connection became free in time. Try again in a moment.")
