"""The command ``hecto`` on a host: setting a site up and looking after its users. Run it as ``hecto-admin`` there."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from sqlalchemy import text

from hecto import settings
from hecto.application import registry
from hecto.core.db import Database
from hecto.core.permissions import system
from hecto.core.security import hash_password
from hecto.core.unit_of_work import read, run
from hecto.migrations import migrate
from hecto.modules.users import service
from hecto.settings import Settings, SettingsError


def main(arguments: list[str] | None = None) -> int:
    """Run a command; returns the exit code."""
    parser = argparse.ArgumentParser(prog="hecto", description="Set up and look after a Hecto site.")
    commands = parser.add_subparsers(dest="command", required=True)
    setup = commands.add_parser("setup", help="migrate the database, bring roles up to date, create the administrator")
    setup.add_argument("--check", action="store_true", help="change nothing, say whether something would change")
    users = commands.add_parser("users", help="users").add_subparsers(dest="action", required=True)
    users.add_parser("list", help="show every user")
    chosen = parser.parse_args(arguments)
    try:
        found = settings.load()
    except SettingsError as error:
        print(error, file=sys.stderr)
        return 2
    database = Database(found)
    if chosen.command == "setup":
        print(json.dumps(set_up(found, database, check=chosen.check)))
    else:
        list_users(database)
    return 0


def set_up(found: Settings, database: Database, *, check: bool) -> dict[str, Any]:
    """Bring the database to what this release needs; with ``check`` only say what would change.

    The administrator is created once, with the password that was handed over; later runs leave the account alone.
    """
    pending = migrate.pending(database.engine)
    if check:
        return {"changed": bool(pending), "migrations": pending, "check": True}
    migrate.upgrade(database.engine)

    def work(session: Any) -> dict[str, Any]:
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

    done = run(database, work)
    return {"changed": bool(pending or done["roles"] or done["administrator"]), "migrations": pending, **done}


def list_users(database: Database) -> None:
    """Print every user, one a line."""
    statement = text("SELECT id, email, name, active FROM app_user ORDER BY id")
    for row in read(database, lambda session: session.execute(statement).all()):
        print(f"{row.id:>6}  {'active' if row.active else 'inactive':<8}  {row.email:<40}  {row.name}")


if __name__ == "__main__":
    sys.exit(main())
