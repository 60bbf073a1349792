"""Taking backups, and saying what is there."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from typing import Any

from host import NO_BACKUP_YET, STANZA_IS_FINE, STATE, Host, Trouble, alone

# When a piece of the log was archived last, how often that failed, and for how many seconds the oldest has waited. A
# standby hands nothing over, whatever it had still to hand over when it was the primary.
ARCHIVER = """
SELECT coalesce(extract(epoch FROM last_archived_time), 0), failed_count, (
    SELECT coalesce(extract(epoch FROM now() - min(modification)), 0)
    FROM pg_ls_archive_statusdir() WHERE name LIKE '%.ready' AND NOT pg_is_in_recovery()
) FROM pg_stat_archiver
"""


def begin(host: Host) -> dict[str, Any]:
    """Make the repository ready for this database, once. Refuses one that holds backups of another database."""
    theirs = {str(one["system-id"]) for one in host.info().get("db", [])}
    if host.has_database and theirs:
        ours = host.system(host.data)["Database system identifier"]
        if ours not in theirs:
            raise Trouble(
                "the repository holds backups of another database than the one on this host, which is new or was made "
                "anew. Nothing is archived until that is settled. To get the data back, run playbooks/restore.yml with "
                "-e backup_restore_confirm=yes, then site.yml again. To begin with an empty database instead, give it "
                "another name in backup_stanza; the old backups stay where they are"
            )
    if not host.takes or _is_standby(host):
        return {"changed": False, "first": False}
    if news := not begun(host):
        # Who still hands over the log to the repository from before has a lock, for minutes where that one is gone.
        try:
            host.pgbackrest("stop", "--force")
        finally:
            host.pgbackrest("start")
        host.pgbackrest("stanza-create")
        host.pgbackrest("check")
    return {"changed": news, "first": host.info()["status"]["code"] == NO_BACKUP_YET}


def begun(host: Host) -> bool:
    """Whether there is nothing to begin: the repository is this database's."""
    if host.has_database and not (host.data / "PG_VERSION").exists():
        return False
    found = host.info()
    if found["status"]["code"] not in (STANZA_IS_FINE, NO_BACKUP_YET):
        return False
    return not host.has_database or host.system(host.data)["Database system identifier"] in {
        str(one["system-id"]) for one in found["db"]
    }


def take(host: Host, *, full: bool) -> dict[str, Any]:
    """Take a backup. A standby leaves it to the primary."""
    if not host.takes:
        raise Trouble("backups of this site are taken on its repository host (group backup of the inventory)")
    if _is_standby(host):
        return {"changed": False, "message": "this is a standby: the primary takes the backup"}
    with alone():
        host.pgbackrest("backup", f"--type={'full' if full else 'incr'}", echo=True)
    return {"changed": True, "backup": described(host)[-1]}


def _is_standby(host: Host) -> bool:
    """Whether another server is the primary. The repository's own host finds the primary by itself."""
    return not host.sees_all and host.psql("SELECT pg_is_in_recovery()", database="postgres") == "t"


def described(host: Host) -> list[dict[str, Any]]:
    """Every backup of the repository, oldest first, with what a person wants to know of it."""
    return [
        {
            "label": one["label"],
            "type": {"full": "full", "incr": "incremental", "diff": "differential"}[one["type"]],
            "finished": int(one["timestamp"]["stop"]),
            "database_bytes": int(one["info"]["size"]),
            "added_bytes": int(one["info"]["repository"]["delta"]),
            "failed": bool(one.get("error")),
        }
        for one in host.info()["backup"]
    ]


def table(backups: list[dict[str, Any]]) -> str:
    """The backups for a person."""
    if not backups:
        return "There is no backup yet. Take one: hecto-backup take --full"
    lines = [f"{'backup':<34} {'type':<12} {'finished (UTC)':<20} {'database':>10} {'added':>10}"]
    for one in backups:
        when = datetime.fromtimestamp(one["finished"], UTC).strftime("%Y-%m-%d %H:%M:%S")
        sizes = f"{size(one['database_bytes']):>10} {size(one['added_bytes']):>10}"
        lines.append(f"{one['label']:<34} {one['type']:<12} {when:<20} {sizes}{'  damaged' if one['failed'] else ''}")
    return "\n".join(lines)


def size(count: int) -> str:
    """A number of bytes for a person."""
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"


def metrics(host: Host) -> str:
    """What Prometheus' node exporter reads from a file."""
    values: dict[str, Any] = {}
    for ask in (_backups, _archiver):
        try:
            values |= ask(host)
        except Trouble as trouble:
            # Who does not answer has alerts of its own, and then it matters most that the rest gets there.
            print(f"hecto-backup: {trouble}", file=sys.stderr)
    tried = STATE / "restore-test.json"
    if host.tests and tried.exists():
        last = json.loads(tried.read_text())
        values["hecto_restore_test_success"] = int(last["success"])
        values["hecto_restore_test_timestamp_seconds"] = last["at"]
        values["hecto_restore_test_seconds"] = last.get("rto_seconds", last["seconds"])
    kinds = {name: "counter" if name.endswith("_total") else "gauge" for name in values}
    return "".join(f"# TYPE {name} {kinds[name]}\n{name} {value}\n" for name, value in values.items())


def _backups(host: Host) -> dict[str, Any]:
    """When the last backups were finished."""
    backups = [one for one in described(host) if not one["failed"]]
    full = [one["finished"] for one in backups if one["type"] == "full"]
    return {
        "hecto_backup_last_full_timestamp_seconds": max(full, default=0),
        "hecto_backup_last_timestamp_seconds": max((one["finished"] for one in backups), default=0),
    }


def _archiver(host: Host) -> dict[str, Any]:
    """When this host's database archived its log last, how often it could not, and for how long a piece has waited."""
    if not host.has_database:
        return {}
    archived, failed, waiting = host.psql(ARCHIVER, database="postgres").split("|")
    return {
        "hecto_backup_archive_last_timestamp_seconds": float(archived),
        "hecto_backup_archive_failed_total": int(failed),
        "hecto_backup_archive_waiting_seconds": float(waiting),
    }
