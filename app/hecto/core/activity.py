"""Who did what to which record, in the transaction of the change itself: neither exists without the other."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, Index, Text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, Session, mapped_column

from hecto.core import clock
from hecto.core.db import Base, Identified
from hecto.core.permissions import Actor


class Activity(Identified, Base):
    """One line of a record's history. It is only ever added to."""

    __tablename__ = "activity"

    subject_type: Mapped[str] = mapped_column(Text)
    subject_id: Mapped[int]
    actor_id: Mapped[int | None] = mapped_column(ForeignKey("app_user.id"))
    verb: Mapped[str] = mapped_column(Text)
    data: Mapped[dict[str, Any]] = mapped_column(JSONB, default=dict)
    created_at: Mapped[datetime] = mapped_column(default=clock.now)

    __table_args__ = (
        Index("ix_activity_subject", "subject_type", "subject_id", "id"),
        {"comment": "Who did what to which record"},
    )


def record(
    session: Session, actor: Actor, subject_type: str, subject_id: int, verb: str, data: dict[str, Any] | None = None
) -> Activity:
    """Write down that ``actor`` did ``verb`` to a record; flushed at once, so that a failure stops the change."""
    line = Activity(
        subject_type=subject_type, subject_id=subject_id, actor_id=actor.id or None, verb=verb, data=data or {}
    )
    session.add(line)
    session.flush()
    return line
