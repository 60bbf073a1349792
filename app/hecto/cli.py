"""The command ``hecto`` on a host: setting a site up and looking after its users. Run it as ``hecto-admin`` there."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from typing import Any

import psycopg2.extensions
import redis
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from hecto import after_restore, settings
from hecto.application import registry
from hecto.core import checks
from hecto.core.checks import Check
from hecto.core.db import Database, Session
from hecto.core.errors import DomainError
from hecto.core.permissions import system
from hecto.core.security import hash_password
from hecto.core.store import Store
from hecto.core.unit_of_work import read, run
from hecto.migrations import migrate, revisions
from hecto.modules.messages import checks as messages_checks
from hecto.modules.tasks import checks as tasks_checks
from hecto.modules.users import checks as users_checks
from hecto.modules.users import service
from hecto.realtime.stream import Stream
from hecto.settings import Settings, SettingsError

# What each module says of its own data.
MODULE_CHECKS = (users_checks.CHECKS, tasks_checks.CHECKS, messages_checks.CHECKS)


class NotWhole(Exception):
    """Something that must hold of the data does not."""


def main(arguments: list[str] | None = None) -> int:
    """Run a command; returns the exit code."""
    chosen = parser().parse_args(arguments)
    try:
        found = settings.load()
    except SettingsError as error:
        print(error, file=sys.stderr)
        return 2
    try:
        chosen.run(found, chosen)
    except migrate.Refused as refusal:
        print(f"hecto: {refusal}", file=sys.stderr)
        return 1
    except NotWhole as faults:
        print(f"hecto: {faults}", file=sys.stderr)
        return 1
    except DomainError as error:
        print(f"hecto: {error.title}: {error.detail}", file=sys.stderr)
        return 1
    except (redis.RedisError, DBAPIError) as error:
        print(f"hecto: PostgreSQL or Redis gave no good answer: {str(error).strip()}", file=sys.stderr)
        return 1
    return 0


def parser() -> argparse.ArgumentParser:
    """The command line."""
    top = argparse.ArgumentParser(prog="hecto", description="Set up and look after a Hecto site.")
    commands = top.add_subparsers(dest="command", required=True)
    one = commands.add_parser("setup", help="migrate the database, bring roles up to date, create the administrator")
    one.add_argument("--check", action="store_true", help="change nothing, say whether something would change")
    one.add_argument(
        "--running",
        metavar="REVISION",
        help="the schema that the oldest running release knows, or none: whether something may be taken away",
    )
    one.set_defaults(run=_set_up)
    one = commands.add_parser("schema", help="show where the schema is and which releases work with it")
    one.add_argument("--json", action="store_true", help="for programs")
    one.set_defaults(run=_schema)
    one = commands.add_parser("announce", help="tell open pages that a release has been deployed")
    one.add_argument("release", metavar="RELEASE")
    one.set_defaults(run=_announce)
    one = commands.add_parser("check-data", help="see that what must hold of the data does; exit code 1 where not")
    one.add_argument("--json", action="store_true", help="for programs")
    one.set_defaults(run=_check_data)
    one = commands.add_parser(
        "after-restore",
        help="bring Redis and sign-ins into line with a database that was restored; no instance may run",
    )
    one.set_defaults(run=_after_restore)
    users = commands.add_parser("users", help="users").add_subparsers(dest="action", required=True)
    users.add_parser("list", help="show every user").set_defaults(run=_list_users)
    return top


def set_up(
    found: Settings, database: Database, *, check: bool, running: str | None = None, say: migrate.Say = lambda _: None
) -> dict[str, Any]:
    """Bring the database to what this release needs; with ``check`` only say what would change.

    The administrator is created once, with the password that was handed over; later runs leave the account alone.
    Raises migrate.Refused, before anything was changed, when a pending migration would hurt what runs.
    """
    if check:
        pending = _judged(database, running)
        return {"changed": bool(pending) or _checks_are_due(database), "migrations": pending, "check": True}
    with migrate.turn(database.engine, say) as connection:
        pending = _judged(database, running)
        migrate.upgrade(connection, pending, say)
        checked = _checks_are_due(database)
        if checked:
            with database.engine.begin() as another:
                checks.install(another, data_checks())
        done = run(database, lambda session: _fill(found, session))
    changed = bool(pending or checked or done["roles"] or done["administrator"])
    return {"changed": changed, "migrations": pending, **done}


def _judged(database: Database, running: str | None) -> list[str]:
    """The migrations that are due; raises migrate.Refused when one of them would hurt what runs."""
    pending = migrate.pending(database.engine)
    migrate.judge(pending, running, migrate.schema(database.engine).current)
    return pending


def _fill(found: Settings, session: Session) -> dict[str, Any]:
    """Bring the built-in roles up to date, and create the administrator where there is nobody yet."""
    roles = [
        name
        for name, (label, permissions) in service.built_in_roles(registry()).items()
        if service.ensure_role(session, name, label, permissions)
    ]
    administrator = None
    if session.scalar(text("SELECT NOT EXISTS (SELECT 1 FROM app_user)")):
        service.check_password(found.admin_password)
        administrator = found.admin_email
        service.create(
            session,
            system(),
            email=administrator,
            name="Administrator",
            password_hash=hash_password(found.admin_password),
            roles=[service.ADMINISTRATOR, service.MEMBER],
        )
    return {"roles": roles, "administrator": administrator}


def data_checks() -> list[Check]:
    """Everything that must hold of the data, by this release."""
    return checks.all_of(migrate.metadata(), revisions.known()[-1], MODULE_CHECKS)


def _checks_are_due(database: Database) -> bool:
    """Whether the database keeps other checks than those of this release; what a newer release wrote stays."""
    schema = migrate.schema(database.engine)
    if schema.current and schema.current > schema.head:
        return False
    with database.engine.connect() as connection:
        return checks.differs(connection, data_checks())


def _set_up(found: Settings, chosen: argparse.Namespace) -> None:
    database = Database(found)
    # The bound on a silent server is made for requests; an index may take an hour, and nobody else waits here.
    psycopg2.extensions.set_wait_callback(None)

    def say(line: str) -> None:
        print(line, file=sys.stderr, flush=True)

    print(json.dumps(set_up(found, database, check=chosen.check, running=chosen.running, say=say)))


def _schema(found: Settings, chosen: argparse.Namespace) -> None:
    state = migrate.schema(Database(found).engine)
    if chosen.json:
        print(json.dumps(asdict(state)))
    else:
        works = (
            f"releases with schema {state.floor} or later work with it"
            if state.floor
            else "every release works with it"
        )
        print(f"The schema is at {state.current or 'nothing yet'}; {works}. This release brings it to {state.head}.")


def _announce(found: Settings, chosen: argparse.Namespace) -> None:
    print(json.dumps({"changed": Stream(Store(found)).announce(chosen.release)}))


def _check_data(found: Settings, chosen: argparse.Namespace) -> None:
    database = Database(found)
    psycopg2.extensions.set_wait_callback(None)  # it may read every table
    with database.engine.connect() as connection:
        done = checks.run(connection)
    faults = [one for one in done if one.faults]
    if chosen.json:
        print(json.dumps({"checks": len(done), "faults": [asdict(one) for one in faults]}))
    if faults:
        lines = "\n".join(f"  - {one.name}: {one.faults}, such as {one.example}" for one in faults)
        raise NotWhole(f"the data is not whole. Look into it before anything else changes it:\n{lines}")
    if not chosen.json:
        print(f"The data is whole: {len(done)} checks found nothing.")


def _after_restore(found: Settings, _: argparse.Namespace) -> None:
    print(json.dumps(after_restore.settle(Database(found), Store(found))))


def _list_users(found: Settings, _: argparse.Namespace) -> None:
    statement = text("SELECT id, email, name, active FROM app_user ORDER BY id")
    for row in read(Database(found), lambda session: session.execute(statement).all()):
        print(f"{row.id:>6}  {'active' if row.active else 'inactive':<8}  {row.email:<40}  {row.name}")


if __name__ == "__main__":
    sys.exit(main())
