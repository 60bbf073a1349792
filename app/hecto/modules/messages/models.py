"""Tables of channels, their members, messages and mentions."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, Index, Text, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from hecto.core import clock
from hecto.core.db import Base, Identified

LONGEST_NAME = 80
LONGEST_TOPIC = 250
LONGEST_TEXT = 10_000


class Kind(StrEnum):
    """Who sees a channel: everybody, its members, or the two who talk to each other."""

    PUBLIC = "public"
    PRIVATE = "private"
    DIRECT = "direct"


class Channel(Identified, Base):
    """A place to write in. A conversation between two people is one without a name."""

    __tablename__ = "channel"

    kind: Mapped[str] = mapped_column(Text)
    name: Mapped[str | None] = mapped_column(Text)
    topic: Mapped[str] = mapped_column(Text, default="")
    creator_id: Mapped[int] = mapped_column(ForeignKey("app_user.id"))
    # Only of a direct conversation, the smaller id first, so that there is one for each pair.
    first_user_id: Mapped[int | None] = mapped_column(ForeignKey("app_user.id"))
    second_user_id: Mapped[int | None] = mapped_column(ForeignKey("app_user.id"))
    # The last number that was given; only ever changed by whoever holds the row.
    last_change: Mapped[int] = mapped_column(default=0)
    created_at: Mapped[datetime] = mapped_column(default=clock.now)
    archived_at: Mapped[datetime | None]

    __table_args__ = (
        CheckConstraint("kind IN ('public', 'private', 'direct')", name="kind"),
        CheckConstraint(
            f"CASE WHEN kind = 'direct' THEN name IS NULL ELSE coalesce(char_length(name), 0) BETWEEN 1 AND"
            f" {LONGEST_NAME} END",
            name="name",
        ),
        CheckConstraint(f"char_length(topic) <= {LONGEST_TOPIC}", name="topic"),
        CheckConstraint(
            "CASE WHEN kind = 'direct' THEN coalesce(first_user_id < second_user_id, false)"
            " ELSE first_user_id IS NULL AND second_user_id IS NULL END",
            name="pair",
        ),
        UniqueConstraint("first_user_id", "second_user_id"),
        # Of private channels nobody outside may learn by trying names.
        Index(
            "uq_channel_name",
            text("lower(name)"),
            unique=True,
            postgresql_where=text("kind = 'public' AND archived_at IS NULL"),
        ),
        {"comment": "Channels, and conversations between two people"},
    )


class ChannelMember(Base):
    """Somebody in a channel, and how far they have read."""

    __tablename__ = "channel_member"

    channel_id: Mapped[int] = mapped_column(ForeignKey("channel.id", ondelete="CASCADE"), primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("app_user.id"), primary_key=True)
    # The number of the last message that they have read.
    read_number: Mapped[int] = mapped_column(default=0)
    joined_at: Mapped[datetime] = mapped_column(default=clock.now)

    __table_args__ = (
        Index("ix_channel_member_user_id", "user_id", "channel_id"),
        {"comment": "Who is in which channel, and how far they have read"},
    )


class ChannelMessage(Identified, Base):
    """Something written in a channel. A deleted one stays without its words, so that those who show it hear of it."""

    __tablename__ = "message"

    channel_id: Mapped[int] = mapped_column(ForeignKey("channel.id", ondelete="CASCADE"))
    # Its place in the channel, and the number of its last change: the same until it is edited or deleted.
    number: Mapped[int]
    change: Mapped[int]
    author_id: Mapped[int] = mapped_column(ForeignKey("app_user.id"))
    text: Mapped[str] = mapped_column(Text)
    # What it points to, never fetched by us: [{"url": ..., "title": ...}].
    links: Mapped[list[dict[str, Any]]] = mapped_column(JSONB, default=list)
    created_at: Mapped[datetime] = mapped_column(default=clock.now)
    edited_at: Mapped[datetime | None]
    deleted_at: Mapped[datetime | None]

    __table_args__ = (
        CheckConstraint(
            f"CASE WHEN deleted_at IS NULL THEN char_length(text) BETWEEN 1 AND {LONGEST_TEXT} ELSE text = '' END",
            name="text",
        ),
        CheckConstraint("jsonb_typeof(links) = 'array'", name="links"),
        CheckConstraint("change >= number AND number > 0", name="change"),
        UniqueConstraint("channel_id", "number"),
        UniqueConstraint("channel_id", "change"),
        Index("ix_message_text_words", "text", postgresql_using="gin", postgresql_ops={"text": "gin_trgm_ops"}),
        {"comment": "What was written in channels"},
    )


class Mention(Base):
    """Somebody whom a message names."""

    __tablename__ = "message_mention"

    message_id: Mapped[int] = mapped_column(ForeignKey("message.id", ondelete="CASCADE"), primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("app_user.id"), primary_key=True)

    __table_args__ = ({"comment": "Whom a message names"},)
