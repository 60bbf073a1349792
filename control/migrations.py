"""Lint the migrations: our own rules and squawk's, over the SQL that they give. Runs with .venv's Python."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from pathlib import Path

from control.site import ROOT
from control.tools import tool
from hecto.migrations import migrate, revisions, rules

# What hecto setup says to the server before a migration.
BEFORE = f"SET lock_timeout = '{migrate.LOCK_TIMEOUT}';\nSET statement_timeout = 0;\n"
# Alembic's own table is none of our doing.
NOT_OURS = re.compile(r"CREATE TABLE alembic_version \(.*?\);\n", re.DOTALL)
# What a migration may do that declares contract = True: our own rules see to it that it says whom that hurts.
TAKES_AWAY = "ban-drop-table, ban-drop-column, ban-drop-not-null, renaming-table, renaming-column, ban-truncate-cascade"


def main() -> int:
    """Print what is wrong; returns the exit code."""
    known = [migrate.offline(revision) for revision in revisions.known()]
    faults = rules.check(known)
    for fault in faults:
        print(f"{fault}\n", file=sys.stderr)
    with tempfile.TemporaryDirectory() as directory:
        for revision in known:
            leave = f"-- squawk-ignore-file {TAKES_AWAY}\n" if revision.contract else ""
            script = NOT_OURS.sub("", migrate.script(revision.id))
            Path(directory, f"{revision.id}.sql").write_text(leave + BEFORE + script)
        files = [Path(directory, f"{revision.id}.sql") for revision in known]
        squawk = subprocess.run([tool("squawk"), "--config", ROOT / ".squawk.toml", *files], check=False)
    return 1 if faults or squawk.returncode else 0


if __name__ == "__main__":
    sys.exit(main())
