"""The database: the declarative base, psycopg2 under gevent, the engine and its kinds of session."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any

import psycopg2
import psycopg2.extensions
from gevent.socket import wait_read, wait_write
from sqlalchemy import BigInteger, DateTime, Engine, Identity, MetaData, create_engine, event, exc
from sqlalchemy.engine import URL, Connection, ExceptionContext
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, sessionmaker
from sqlalchemy.pool import ConnectionPoolEntry, QueuePool

from hecto.core import clock, trail
from hecto.settings import Settings

if TYPE_CHECKING:
    from hecto.core.outbox import Pending

# Names of constraints appear in error handling and migrations: they must not depend on PostgreSQL's choice.
NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}

# libpq's connect_timeout has no effect in psycopg2's green mode, so the wait below keeps it.
CONNECT_TIMEOUT = 5.0
# The server cancels statements long before (statement_timeout); this bounds a server that went silent.
ANSWER_TIMEOUT = 60.0
# How long a request waits for a connection of the pool before it is told that the instance is busy.
POOL_TIMEOUT = 3.0
# What PostgreSQL warns of when a wait for a standby was cut short. It reports the commit as done all the same.
NOT_REPLICATED = "might not have been replicated"
# A write that came to a standby: the primary has moved, and this connection has not.
READ_ONLY = "25006"
# Of a connection that has served nobody yet. A pooler takes connections for a server that is away, and ends them when
# they ask something: to have been made means nothing, to have served does.
UNTRIED = "untried"
# An attribute of errors by which nothing was begun: there was no connection, or nobody behind it.
REFUSED = "hecto_refused"
# A server that refuses connections for no longer than this may only be restarting, or the primary moves: requests wait
# for it. Whoever comes later is told at once.
RESTART_SECONDS = 8.0


class Base(DeclarativeBase):
    """The base of every table."""

    metadata = MetaData(naming_convention=NAMING)
    type_annotation_map = {datetime: DateTime(timezone=True), int: BigInteger}


class Identified:
    """A table with a number of its own."""

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)


class Stamped:
    """A table whose rows know when they were made and changed."""

    created_at: Mapped[datetime] = mapped_column(default=clock.now)
    updated_at: Mapped[datetime] = mapped_column(default=clock.now, onupdate=clock.now)


def _wait(connection: Any, timeout: float | None = None) -> None:
    """Let other greenlets run while psycopg2 waits for its socket.

    Any way out other than completion, a timeout or a killed greenlet, leaves the protocol in mid-sentence. psycopg2
    then closes the connection itself. To close it here as well would wait for ever: psycopg2 holds its lock meanwhile.
    """
    bound = ANSWER_TIMEOUT if connection.status != psycopg2.extensions.STATUS_SETUP else CONNECT_TIMEOUT
    try:
        while True:
            state = connection.poll()
            if state == psycopg2.extensions.POLL_OK:
                return
            if state == psycopg2.extensions.POLL_READ:
                wait_read(connection.fileno(), timeout=bound)
            elif state == psycopg2.extensions.POLL_WRITE:
                wait_write(connection.fileno(), timeout=bound)
            else:
                raise psycopg2.OperationalError(f"unexpected state {state} of a database connection")
    except TimeoutError as error:
        raise psycopg2.OperationalError(f"the database did not answer for {bound:.0f} s") from error


def _engine(settings: Settings, host: str, pool: int) -> Engine:
    return create_engine(
        # The driver is named: since SQLAlchemy 2.1 plain "postgresql" means another one.
        URL.create(
            "postgresql+psycopg2",
            username=settings.database_user,
            password=settings.database_password,
            database=settings.database_name,
            query={"host": host, "port": str(settings.database_port)},
        ),
        connect_args={"application_name": settings.database_client},
        poolclass=Pool,
        pool_size=pool,
        # The budget counts pool_size connections an instance and no more.
        max_overflow=0,
        pool_timeout=POOL_TIMEOUT,
        # Last in, first out: an idle instance lets its further connections grow old and be recycled.
        pool_use_lifo=True,
        pool_recycle=1800,
        # What people write and how they sign in has no place in the log, where the text of an error goes.
        hide_parameters=True,
    )


def commit(session: Session) -> bool:
    """Commit, and say whether it is certain that the change outlives this server.

    It is not when somebody ended the wait for a standby (pg_cancel_backend): the server then reports the commit as done
    and only warns. Where no standby is waited for, it is always certain.
    """
    raw: Any = session.connection().connection.dbapi_connection
    raw.notices.clear()
    session.commit()
    return not any(NOT_REPLICATED in notice for notice in raw.notices)


class TrailCursor(psycopg2.extensions.cursor):  # type: ignore[misc]
    """Says behind each statement for which request it runs, and notes what it took."""

    def execute(self, query: Any, vars: Any = None) -> None:
        """Execute a statement."""
        here = trail.current.get()
        if here is None:
            super().execute(query, vars)
            return
        if isinstance(query, str):
            query += here.comment
        begun = time.perf_counter()
        try:
            super().execute(query, vars)
        finally:
            here.statements += 1
            here.database_seconds += time.perf_counter() - begun


class Pool(QueuePool):
    """The pool of one process, which counts how long somebody waited for a connection, and for how many in vain."""

    waited_seconds = 0.0
    timeouts = 0

    def _do_get(self) -> ConnectionPoolEntry:
        if self.checkedout() < self.size():
            return super()._do_get()
        begun = time.monotonic()
        try:
            return super()._do_get()
        except exc.TimeoutError:
            self.timeouts += 1
            raise
        finally:
            self.waited_seconds += time.monotonic() - begun


class Database:
    """The engine of one process. Connections are made on first use, so it may be built before a fork."""

    def __init__(self, settings: Settings) -> None:
        # Called after each commit with what the unit of work has left in the outbox.
        self.committed: Callable[[Pending], None] = lambda pending: None
        self.cursor_factory: type[TrailCursor] = TrailCursor
        psycopg2.extensions.set_wait_callback(_wait)
        self.engine = _engine(settings, settings.database_host, settings.database_pool)
        self._refused_since: float | None = None
        event.listen(self.engine, "connect", self._equip)
        event.listen(self.engine, "connect", self._on_connect)
        event.listen(self.engine, "checkin", self._on_checkin)
        event.listen(self.engine, "handle_error", self._on_error)
        self.write_session = sessionmaker(self.engine, expire_on_commit=False)
        # Reads that are one statement each need no BEGIN and ROLLBACK around them: two round trips less. Not by
        # SQLAlchemy's isolation_level, which asks the server to end it, when nothing expects an error any more: a
        # connection lost at that moment never came back to the pool.
        reads = self.engine.execution_options()
        event.listen(self.engine, "checkout", self._on_checkout)
        event.listen(reads, "engine_connect", self._on_read)
        self.read_session = sessionmaker(reads)
        # Reports read what may be some moments old, where a standby is there for them. Nothing that a write follows
        # from and nothing that shows somebody his own change may be read here.
        self.report_session, self._reports = self.read_session, self.engine
        if settings.database_report_host:
            self._reports = _engine(settings, settings.database_report_host, 1)
            event.listen(self._reports, "connect", self._equip)
            event.listen(self._reports, "engine_connect", self._on_read)
            self.report_session = sessionmaker(self._reports)

    def probe(self) -> None:
        """Ask the database for a sign of life; raises what SQLAlchemy raises."""
        with self.engine.connect() as connection:
            connection.exec_driver_sql("SELECT 1")

    @property
    def pool(self) -> Pool:
        """The connections of this process."""
        assert isinstance(self.engine.pool, Pool)
        return self.engine.pool

    def is_full(self) -> bool:
        """Whether whoever needs a connection now has to wait for one."""
        return self.pool.checkedout() >= self.pool.size()

    def restarts(self) -> bool:
        """Whether connections are refused since so short a time that they may be made again in a moment."""
        return self._refused_since is not None and time.monotonic() - self._refused_since < RESTART_SECONDS

    def refused(self, error: exc.DBAPIError) -> bool:
        """Whether nothing was begun, by a server that may be back in a moment."""
        return hasattr(error.orig, REFUSED) and self.restarts()

    def _on_checkout(self, connection: Any, *_: Any) -> None:
        connection.autocommit = False

    def _on_read(self, connection: Connection) -> None:
        raw: Any = connection.connection.dbapi_connection
        raw.autocommit = True

    def _equip(self, connection: Any, *_: Any) -> None:
        connection.cursor_factory = self.cursor_factory

    def _on_connect(self, _: Any, record: ConnectionPoolEntry) -> None:
        record.info[UNTRIED] = True

    def _on_checkin(self, connection: Any, record: ConnectionPoolEntry) -> None:
        # None comes back instead of one that was lost.
        if connection is not None:
            record.info.pop(UNTRIED, None)
            self._refused_since = None

    def _on_error(self, context: ExceptionContext) -> None:
        read_only = getattr(context.original_exception, "pgcode", None) == READ_ONLY
        if read_only:
            # Another connection leads to the primary, or this server is about to be it.
            context.is_disconnect = True
        # Without a connection: it is the making of one that failed.
        if context.connection is None or read_only:
            is_refused = True
        else:
            is_refused = context.is_disconnect and UNTRIED in context.connection.info
        if is_refused and self._refused_since is None:
            self._refused_since = time.monotonic()
        if is_refused and not read_only:
            setattr(context.original_exception, REFUSED, True)

    def dispose(self) -> None:
        """Close every pooled connection."""
        self.engine.dispose()
        self._reports.dispose()


def containing(value: str) -> str:
    """The pattern for LIKE that finds the text anywhere, its wildcards made literal."""
    return f"%{beginning(value)}"


def beginning(value: str) -> str:
    """The pattern for LIKE that finds the text at the beginning, its wildcards made literal."""
    literal = value.replace("\\", "\\\\").replace("%", r"\%").replace("_", r"\_")
    return f"{literal}%"


__all__ = ["Base", "Database", "Identified", "Session", "Stamped", "beginning", "commit", "containing"]
