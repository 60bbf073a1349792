"""Tables of users, roles and sign-ins."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import CheckConstraint, ForeignKey, Index, Text, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column, relationship

from hecto.core import clock
from hecto.core.db import Base, Identified, Stamped


class User(Identified, Stamped, Base):
    """Somebody who can sign in. Users are never deleted, only made inactive: their history keeps their name."""

    __tablename__ = "app_user"

    email: Mapped[str] = mapped_column(Text)
    name: Mapped[str] = mapped_column(Text)
    password_hash: Mapped[str] = mapped_column(Text)
    active: Mapped[bool] = mapped_column(default=True)
    version: Mapped[int] = mapped_column(default=1)
    roles: Mapped[list[Role]] = relationship(secondary="user_role", lazy="raise", order_by="Role.name")

    __table_args__ = (
        Index("uq_app_user_email", text("lower(email)"), unique=True),
        {"comment": "People who can sign in"},
    )
    __mapper_args__ = {"version_id_col": version}


class Role(Identified, Base):
    """A named set of permissions."""

    __tablename__ = "role"

    name: Mapped[str] = mapped_column(Text, unique=True)
    label: Mapped[str] = mapped_column(Text)
    permissions: Mapped[list[str]] = mapped_column(ARRAY(Text))

    __table_args__ = ({"comment": "Named sets of permissions"},)


class UserRole(Base):
    """Which user has which role."""

    __tablename__ = "user_role"

    user_id: Mapped[int] = mapped_column(ForeignKey("app_user.id"), primary_key=True)
    role_id: Mapped[int] = mapped_column(ForeignKey("role.id"), primary_key=True)

    __table_args__ = ({"comment": "Which user has which role"},)


class UserSession(Base):
    """One sign-in, by browser or by API. Redis holds copies of those in use; this is the truth."""

    __tablename__ = "user_session"

    id: Mapped[str] = mapped_column(Text, primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("app_user.id"), index=True)
    kind: Mapped[str] = mapped_column(Text)
    # SHA-256 of the cookie's secret or of the current refresh token; the secret itself is stored nowhere.
    secret_digest: Mapped[str] = mapped_column(Text)
    previous_digest: Mapped[str] = mapped_column(Text, default="")
    rotated_at: Mapped[datetime] = mapped_column(default=clock.now)
    created_at: Mapped[datetime] = mapped_column(default=clock.now)
    expires_at: Mapped[datetime]
    revoked_at: Mapped[datetime | None]
    address: Mapped[str] = mapped_column(Text, default="")
    user_agent: Mapped[str] = mapped_column(Text, default="")

    __table_args__ = (
        CheckConstraint("kind IN ('browser', 'api')", name="kind"),
        Index("ix_user_session_expires_at", "expires_at"),
        {"comment": "Sign-ins"},
    )
