"""Migrations without a configuration file: what is pending, and upgrading."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, MetaData

from hecto.core.db import Base

# Two control machines may set up the same site at once; the number is arbitrary, but always this one.
MIGRATION_LOCK = 4_318_265


def metadata() -> MetaData:
    """Every table of every module."""
    import hecto.core.activity
    import hecto.core.idempotency
    import hecto.core.outbox
    import hecto.modules.tasks.models
    import hecto.modules.users.models  # noqa: F401

    return Base.metadata


def pending(engine: Engine) -> list[str]:
    """The revisions that the database lacks, oldest first."""
    script = ScriptDirectory.from_config(_config())
    with engine.connect() as connection:
        current = MigrationContext.configure(connection).get_current_revision()
    return [revision.revision for revision in script.iterate_revisions("head", current or "base")][::-1]


def upgrade(engine: Engine) -> None:
    """Bring the schema to the newest revision; one at a time on the whole site."""
    with engine.connect() as connection:
        connection.exec_driver_sql(f"SELECT pg_advisory_lock({MIGRATION_LOCK})")
        connection.commit()
        config = _config()
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
        connection.commit()
        connection.exec_driver_sql(f"SELECT pg_advisory_unlock({MIGRATION_LOCK})")
        connection.commit()


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    config.set_main_option("path_separator", "os")
    return config
