"""Alembic's entry: runs the migrations on the connection that hecto.migrations.migrate hands over, or prints them."""

from __future__ import annotations

from typing import Any

from alembic import context

from hecto.migrations.migrate import LOCK_TIMEOUT, metadata, remember_floor


def _applied(ctx: Any, step: Any, heads: Any, run_args: Any) -> None:
    """In the transaction of the migration: either both are there or neither."""
    if ctx.connection is not None and (needs := getattr(step.up_revision.module, "needs", None)):
        remember_floor(ctx.connection, needs)


if context.is_offline_mode():
    context.configure(dialect_name="postgresql", target_metadata=metadata(), transaction_per_migration=True)
else:
    connection = context.config.attributes["connection"]
    context.configure(
        connection=connection,
        target_metadata=metadata(),
        transaction_per_migration=True,
        on_version_apply=_applied,
    )
    connection.exec_driver_sql(f"SET lock_timeout = '{LOCK_TIMEOUT}'")
    connection.commit()
with context.begin_transaction():
    context.run_migrations()
