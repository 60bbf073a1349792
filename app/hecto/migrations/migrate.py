"""Migrations without a configuration file: what is pending, whether it may be done now, and doing it."""

from __future__ import annotations

import io
import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import Script, ScriptDirectory
from sqlalchemy import Connection, Engine, MetaData
from sqlalchemy.exc import DBAPIError

from hecto.core.db import Base
from hecto.migrations import revisions, rules, sql
from hecto.migrations.rules import Revision

Say = Callable[[str], None]

# The hosts of a new site set it up at once, and so may two control machines; arbitrary, but always this number.
MIGRATION_LOCK = 4_318_265
# A migration that has to wait for a lock makes everybody behind it wait, too: it rather fails and is tried again, after
# pauses in which everybody gets on.
LOCK_TIMEOUT = "3s"
PAUSES = (1, 2, 4, 8)
LOCK_NOT_AVAILABLE = "55P03"
# Nobody runs, as a fleet's schema.
NOBODY = "none"

_FLOOR = "Oldest revision whose code works with this schema: "


class Refused(Exception):
    """The schema stays as it is; the message says why, what that means and what to do."""


@dataclass(frozen=True)
class Schema:
    """Where a database is, where this release would bring it, and from which revision on code works with it."""

    current: str | None
    head: str
    floor: str | None


def metadata() -> MetaData:
    """Every table of every module."""
    import hecto.core.activity
    import hecto.core.idempotency
    import hecto.core.outbox
    import hecto.modules.messages.models
    import hecto.modules.tasks.models
    import hecto.modules.users.models  # noqa: F401

    return Base.metadata


def schema(engine: Engine) -> Schema:
    """The state of the schema."""
    with engine.connect() as connection:
        current = MigrationContext.configure(connection).get_current_revision()
        note = connection.exec_driver_sql("SELECT obj_description(to_regclass('alembic_version'), 'pg_class')").scalar()
    found = re.fullmatch(f"{re.escape(_FLOOR)}(\\w+)", note or "")
    return Schema(current, revisions.known()[-1], found[1] if found else None)


def remember_floor(connection: Connection, needs: str) -> None:
    """Note down in the database itself who works with it: an older release does not know newer migrations."""
    connection.exec_driver_sql(f"COMMENT ON TABLE alembic_version IS '{_FLOOR}{needs}'")


def pending(engine: Engine) -> list[str]:
    """The revisions that the database lacks, oldest first; none when it is ahead of this release."""
    current = schema(engine).current
    return [one for one in revisions.known() if current is None or one > current]


def judge(pending_revisions: Sequence[str], running: str | None, current: str | None) -> None:
    """Refuse migrations that would hurt what runs; ``running`` is the oldest schema that a running release knows."""
    known = [offline(one) for one in revisions.known()]
    if faults := [fault for fault in rules.check(known) if fault.revision in pending_revisions]:
        raise Refused(
            "These migrations would hurt the release that runs, so nothing was changed, everything serves as before. "
            "Mend the release and deploy it again:\n" + "\n".join(f"  - {fault}" for fault in faults)
        )
    for one in known:
        if current is None or not one.needs or one.id not in pending_revisions or running == NOBODY:
            continue
        if running is None:
            raise Refused(
                f"Revision {one.id} takes away what releases before schema {one.needs} use, so nothing was changed. "
                "Say which schema the oldest release that runs knows: --running REVISION, or --running none."
            )
        if running < one.needs:
            raise Refused(
                f"Revision {one.id} takes away what releases before schema {one.needs} use, and one that runs knows "
                f"{running or 'an older one'}. Nothing was changed and everything serves as before. First deploy a "
                f"release with schema {one.needs} or later that lacks revision {one.id}, then this one."
            )


@contextmanager
def turn(engine: Engine, say: Say = lambda _: None) -> Iterator[Connection]:
    """The connection of the one who sets this database up; the others wait for him, and are refused after a while."""
    with engine.connect() as connection:
        _take_turn(connection, say)
        try:
            yield connection
        finally:
            connection.rollback()
            connection.exec_driver_sql(f"SELECT pg_advisory_unlock({MIGRATION_LOCK})")
            connection.commit()


def upgrade(connection: Connection, revisions_due: Sequence[str], say: Say = lambda _: None) -> None:
    """Do these migrations, whose turn it is."""
    for revision in revisions_due:
        say(f"migration {revision} begins")
        _apply(connection, revision, say)
        say(f"migration {revision} is done")


def script(revision: str) -> str:
    """The SQL of one migration."""
    config = _config()
    config.output_buffer = io.StringIO()
    command.upgrade(config, f"{_module(revision).down_revision or 'base'}:{revision}", sql=True)
    return config.output_buffer.getvalue()


def offline(revision: str) -> Revision:
    """One migration as the rules see it."""
    module = _module(revision).module
    return Revision(
        revision,
        sql.statements(script(revision)),
        contract=getattr(module, "contract", False),
        needs=getattr(module, "needs", None),
    )


def _module(revision: str) -> Script:
    found = ScriptDirectory.from_config(_config()).get_revision(revision)
    assert found is not None
    return found


def _take_turn(connection: Connection, say: Say) -> None:
    for pause in (*PAUSES, *PAUSES, None):
        mine = connection.exec_driver_sql(f"SELECT pg_try_advisory_lock({MIGRATION_LOCK})").scalar()
        connection.commit()
        if mine:
            return
        if pause:
            say(f"another setup is at work on this database, looking again in {pause} s")
            time.sleep(pause)
    raise Refused(
        "Another setup is at work on this database. Nothing was changed here. Wait until it has ended, then again."
    )


def _apply(connection: Connection, revision: str, say: Say) -> None:
    config = _config()
    config.attributes["connection"] = connection
    for attempt, pause in enumerate((*PAUSES, None), 1):
        try:
            command.upgrade(config, revision)
            connection.commit()
            return
        except DBAPIError as error:
            connection.rollback()
            if getattr(error.orig, "pgcode", None) != LOCK_NOT_AVAILABLE:
                raise
            if pause is None:
                raise Refused(
                    f"Migration {revision} got no lock in {attempt} attempts of {LOCK_TIMEOUT}: a long transaction "
                    "holds the table. It was not done, those before it stand, everything serves as before. The view "
                    "pg_stat_activity says by xact_start who it is; when it has ended, try again."
                ) from error
            say(f"migration {revision} got no lock within {LOCK_TIMEOUT}, trying again in {pause} s")
            time.sleep(pause)


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    config.set_main_option("path_separator", "os")
    return config
