"""What a change has to tell others: kept in its own transaction, told after the commit, forgotten when it was told.

An instance that dies after the commit leaves its lines here, and another one tells them: each line at least once, with
its number as `event`, and the lines of one document (its `subject`) in the order of their commits. The order holds
because a line is written while its document is locked, and told while all older lines of the document are.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import gevent
from gevent.event import Event
from gevent.lock import BoundedSemaphore
from sqlalchemy import Index, Text, func, text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Mapped, Session, mapped_column

from hecto.core.db import Base, Database, Identified
from hecto.core.store import StoreUnavailable

log = logging.getLogger(__name__)

LINES = "outbox"
# Documents whose lines are told in one transaction: a bulk change is told in a few steps that others can get between.
BATCH = 200
# Lines of others are left to them for this long: the instance that made them is telling them.
GRACE_SECONDS = 2
# Between two looks for lines that nobody told. A dead instance looks when it starts again, and a repeated request makes
# its heir look at once; this is for a host that never came back. A hundred instances then ask four times a second.
LOOK_SECONDS = 25.0
# After a failure; doubled up to the longest.
FIRST_PAUSE, LONGEST_PAUSE = 0.2, 1.0
# How long an instance that leaves may take to tell what it still has; another one tells the rest.
LEAVE_SECONDS = 1.0

# Without waiting for the disk: a forgotten line that comes back after a crash is told again, which is allowed. In one
# order, so that two instances with the same documents wait for each other and never in a circle.
_TAKE = text("""
    SET LOCAL synchronous_commit = off;
    DELETE FROM outbox WHERE id IN (
        SELECT id FROM outbox WHERE subject = ANY(:subjects) ORDER BY id FOR UPDATE)
    RETURNING id, drops, messages
""")
_LEFT = text("""
    SELECT DISTINCT subject FROM outbox
     WHERE created_at <= now() - make_interval(secs => :seconds) LIMIT :batch
""")


class OutboxLine(Identified, Base):
    """Something that was committed and has not been told yet. Only ever touched by the statements around here."""

    __tablename__ = "outbox"

    subject: Mapped[str] = mapped_column(Text)
    # What Redis must forget: "cache:tasks", "session:ID", "revoked:ID".
    drops: Mapped[list[str]] = mapped_column(ARRAY(Text))
    messages: Mapped[list[Any]] = mapped_column(JSONB)
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())

    __table_args__ = (
        Index("ix_outbox_subject", "subject", "id"),
        {"comment": "What was committed and has not been told yet"},
    )


@dataclass(frozen=True, slots=True)
class Message:
    """An event for everybody in a room."""

    room: str
    event: str
    payload: dict[str, Any]


@dataclass(slots=True)
class Pending:
    """The lines of one unit of work, and their numbers once they are written."""

    lines: list[dict[str, Any]] = field(default_factory=list)
    ids: list[int] = field(default_factory=list)

    @property
    def subjects(self) -> list[str]:
        return [line["subject"] for line in self.lines]

    @property
    def drops(self) -> set[str]:
        return {drop for line in self.lines for drop in line["drops"]}


def tell(session: Session, subject: str, messages: Sequence[Message], drops: Sequence[str] = ()) -> None:
    """Have Redis forget what ``drops`` names, and messages sent, once the unit of work stands.

    ``subject`` is the document, such as ``task:17``; this unit must hold its row, or have just made it.
    """
    pending = session.info.setdefault(LINES, Pending())
    told = [[message.room, message.event, message.payload] for message in messages]
    pending.lines.append({"subject": subject, "drops": list(drops), "messages": told})


class Teller:
    """Tells what the units of work of this process have left in the outbox, in a greenlet of its own."""

    def __init__(self, database: Database, drop: Callable[[str], None]) -> None:
        """``drop`` makes Redis forget something, ``send`` publishes messages; both raise StoreUnavailable."""
        self.told = 0
        self.send: Callable[[list[Message]], None] = lambda messages: None
        self._database = database
        self._drop = drop
        self._subjects: set[str] = set()
        # Lines whose drops were made before the answer went out; a second time would only cost everybody a miss.
        self._dropped: set[int] = set()
        self._guard = BoundedSemaphore()
        self._look = 0.0
        self._looking = True
        self._wake = Event()
        self._greenlet: gevent.Greenlet | None = None

    def start(self) -> None:
        """Begin, in the worker; the first look is for what the one before left behind."""
        self._greenlet = gevent.spawn(self._run)
        self.look()

    def stop(self) -> None:
        """Tell what is there and end."""
        if self._greenlet is not None:
            self._greenlet.kill()
        try:
            with gevent.Timeout(LEAVE_SECONDS, False):
                self._tell_all()
        except (SQLAlchemyError, StoreUnavailable) as error:
            log.warning("%d documents are left to others to be told of: %s", len(self._subjects), error)

    def committed(self, pending: Pending) -> None:
        """Make what was committed known: Redis forgets at once, so that the next answer is right, the rest follows."""
        try:
            for drop in pending.drops:
                self._drop(drop)
            self._dropped.update(pending.ids)
        except StoreUnavailable:
            log.warning("Redis is away: what was changed is dropped there when it is back")
        self._subjects.update(pending.subjects)
        self._wake.set()

    def catch_up(self) -> None:
        """Tell now what a dead instance may have left: the caller is about to answer in its place."""
        self._looking, self._look = True, 0.0
        try:
            self._tell_all()
        except (SQLAlchemyError, StoreUnavailable) as error:
            log.warning("what another instance left is told later: %s", error)
            self._wake.set()

    def look(self, grace: float = 0.0) -> None:
        """Look for lines that nobody tells, of every age by default."""
        self._looking, self._look = True, grace
        self._wake.set()

    def _run(self) -> None:
        pause = FIRST_PAUSE
        while True:
            if not self._wake.wait(LOOK_SECONDS * random.uniform(0.5, 1.5)):
                self.look(GRACE_SECONDS)
            self._wake.clear()
            try:
                self._tell_all()
                pause = FIRST_PAUSE
            except (SQLAlchemyError, StoreUnavailable) as error:
                log.warning("cannot tell of %d documents, trying again: %s", len(self._subjects), error)
                gevent.sleep(pause * random.uniform(0.5, 1.5))
                pause = min(LONGEST_PAUSE, pause * 2)
                self._wake.set()

    def _tell_all(self) -> None:
        with self._guard:
            self._tell_in_batches()

    def _tell_in_batches(self) -> None:
        if self._looking:
            values = {"seconds": self._look, "batch": BATCH}
            with self._database.read_session() as session:
                left = session.scalars(_LEFT, values).all()
            self._looking = len(left) == BATCH
            self._subjects.update(left)
        while self._subjects:
            batch = set(list(self._subjects)[:BATCH])
            self._subjects -= batch
            try:
                self._tell(sorted(batch))
            except BaseException:
                self._subjects |= batch
                raise

    def _tell(self, subjects: list[str]) -> None:
        with self._database.write_session() as session:
            rows = sorted(session.execute(_TAKE, {"subjects": subjects}).all())
            # Before the messages: whoever hears of a change and asks must not get what was cached before it.
            for drop in {drop for row in rows if row.id not in self._dropped for drop in row.drops}:
                self._drop(drop)
            # Before the commit, while nobody else can tell a later line of these documents.
            self.send(
                [
                    Message(room, event, {**payload, "event": row.id})
                    for row in rows
                    for room, event, payload in row.messages
                ]
            )
            session.commit()
        self._dropped -= {row.id for row in rows}
        self.told += len(rows)
