"""The table of tasks."""

from __future__ import annotations

from datetime import date, datetime
from enum import StrEnum

from sqlalchemy import CheckConstraint, Date, ForeignKey, Index, SmallInteger, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from hecto.core.db import Base, Identified, Stamped


class Status(StrEnum):
    """Where a task stands."""

    OPEN = "open"
    DOING = "doing"
    DONE = "done"


# From the most to the least urgent.
PRIORITIES = {1: "Urgent", 2: "High", 3: "Normal", 4: "Low"}
NORMAL = 3


class Task(Identified, Stamped, Base):
    """Something to be done."""

    __tablename__ = "task"

    title: Mapped[str] = mapped_column(Text)
    description: Mapped[str] = mapped_column(Text, default="")
    status: Mapped[str] = mapped_column(Text, default=Status.OPEN)
    priority: Mapped[int] = mapped_column(SmallInteger, default=NORMAL)
    due_date: Mapped[date | None] = mapped_column(Date)
    creator_id: Mapped[int] = mapped_column(ForeignKey("app_user.id"))
    assignee_id: Mapped[int | None] = mapped_column(ForeignKey("app_user.id"))
    closed_at: Mapped[datetime | None]
    version: Mapped[int] = mapped_column(default=1)

    __table_args__ = (
        CheckConstraint("status IN ('open', 'doing', 'done')", name="status"),
        CheckConstraint("priority BETWEEN 1 AND 4", name="priority"),
        CheckConstraint("(status = 'done') = (closed_at IS NOT NULL)", name="closed_at"),
        CheckConstraint("title <> ''", name="title"),
        # The list pages by falling id, whole or by status or by assignee or both.
        Index("ix_task_status", "status", text("id DESC")),
        Index("ix_task_assignee", "assignee_id", text("id DESC")),
        Index("ix_task_assignee_status", "assignee_id", "status", text("id DESC")),
        Index("ix_task_title_words", "title", postgresql_using="gin", postgresql_ops={"title": "gin_trgm_ops"}),
        {"comment": "Things to be done"},
    )
    __mapper_args__ = {"version_id_col": version}
