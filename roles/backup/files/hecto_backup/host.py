"""What this host is told of its database, and the programs that are asked about it."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

STATE = Path("/var/lib/hecto/backup")
# Not a name that pgBackRest gives: its own are STANZA-backup.lock and the like.
LOCK = Path("/run/pgbackrest/one-at-a-time")
STANZA_IS_FINE, NO_BACKUP_YET, NOBODY_KNOWS = 0, 2, 99  # codes of `pgbackrest info`
# Seconds for a store to answer each question about what is there. A backup waits for longer.
PATIENCE = 10


class Trouble(Exception):
    """What happened, what it means, what to do."""


class Host:
    """What role backup has written down, and the programs that are asked."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self.stanza = str(settings["stanza"])
        self.database = str(settings["database"])
        self.version = int(settings["version"])
        self.data = Path(settings["data"])
        self.unit = str(settings["unit"])
        self.has_patroni = self.unit == "patroni.service"
        self.port = int(settings["port"])
        self.takes = bool(settings["takes"])
        # The repository's host finds the primary among all hosts of the database; any other knows its own alone.
        self.sees_all = bool(settings["sees_all"])
        self.has_database = bool(settings["has_database"])
        # Whether the weekly test is this host's. It may have been, and may have left its result here.
        self.tests = bool(settings["tests"])
        self.programs = Path(f"/usr/lib/postgresql/{self.version}/bin")

    def pgbackrest(self, *words: str, echo: bool = False) -> str:
        """Run pgBackRest for this site's stanza; where `echo`, what it says goes to the journal as well."""
        return as_postgres("pgbackrest", f"--stanza={self.stanza}", "--log-level-console=warn", *words, echo=echo)

    def psql(self, statement: str, *, directory: str = "/run/postgresql", port: int = 0, database: str = "") -> str:
        """Ask a server on this host, by its socket."""
        where = [f"--host={directory}", f"--port={port or self.port}", f"--dbname={database or self.database}"]
        words = [*where, "--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--set=ON_ERROR_STOP=1", "--command"]
        return as_postgres(str(self.programs / "psql"), *words, statement)

    def info(self) -> dict[str, Any]:
        """What is in the repository; raises Trouble where it does not say, which must not look like an empty one."""
        words = ["info", "--output=json", f"--io-timeout={PATIENCE}"]
        found = json.loads(self.pgbackrest(*words) or "[]")
        if not found:
            return {"status": {"code": 1}, "backup": [], "db": []}
        if found[0]["status"]["code"] == NOBODY_KNOWS:
            said = "; ".join(str(one["status"]["message"]) for one in found[0].get("repo", ()))
            raise Trouble(
                "the repository does not answer, or not to us, so nobody knows what is in it. See that it is reachable "
                f"from this host, and that key and passphrase in /etc/pgbackrest.conf are right. pgBackRest: {said}"
            )
        return dict(found[0])

    def system(self, data: Path) -> dict[str, str]:
        """What pg_controldata says about a directory."""
        lines = as_postgres(str(self.programs / "pg_controldata"), "--pgdata", str(data)).splitlines()
        return {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in lines)}


def as_postgres(*words: str, echo: bool = False) -> str:
    """Run a program as the user postgres and return what it printed; its complaint becomes ours."""
    command = ["runuser", "--user=postgres", "--", *words] if os.geteuid() == 0 else list(words)
    # What was decrypted with another passphrase is quoted as well, and is no text.
    done = subprocess.run(
        command,
        text=True,
        errors="replace",
        capture_output=True,
        check=False,
        cwd="/",
        env={**os.environ, "LC_ALL": "C.UTF-8"},
    )
    if echo and done.stdout.strip():
        print(done.stdout.strip(), file=sys.stderr)
    if done.returncode != 0:
        said = (done.stderr.strip() or done.stdout.strip())[-2000:]
        raise Trouble(f"{Path(words[0]).name} failed with exit code {done.returncode}: {said}")
    return done.stdout.strip()


@contextmanager
def alone() -> Iterator[None]:
    """One backup, test or restore at a time; whoever comes second waits."""
    LOCK.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    # A restore is root's, a backup is postgres': who comes first makes the file, and the other must get it open.
    descriptor = os.open(LOCK, os.O_RDONLY | os.O_CREAT, 0o644)
    try:
        if os.fstat(descriptor).st_uid == os.geteuid():
            os.fchmod(descriptor, 0o644)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def write(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    fresh = path.with_name(f".{path.name}.new")
    fresh.write_text(text)
    fresh.chmod(0o644)
    fresh.replace(path)
