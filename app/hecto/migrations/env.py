"""Alembic's entry: runs the migrations on the connection that hecto.migrations.migrate hands over."""

from __future__ import annotations

from alembic import context

from hecto.migrations.migrate import metadata

# A migration that has to wait for a lock makes everybody behind it wait, too: it rather fails and is run again.
LOCK_TIMEOUT = "3s"

connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=metadata(), transaction_per_migration=True)
connection.exec_driver_sql(f"SET lock_timeout = '{LOCK_TIMEOUT}'")
connection.commit()
with context.begin_transaction():
    context.run_migrations()
