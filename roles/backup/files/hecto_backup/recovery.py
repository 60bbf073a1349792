"""Coming back: in place of the database that is there, or beside it to look whether that would work."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from host import STATE, Host, Trouble, alone, as_postgres, write
from taking import described, size

SCRATCH_PORT = 5499  # part of the name of a socket that nobody else has; nothing listens on the network
# What a server may not have less of than the one whose log it replays, as pg_controldata and the settings name it.
MUST_NOT_SHRINK = {
    "max_connections": "max_connections",
    "max_worker_processes": "max_worker_processes",
    "max_wal_senders": "max_wal_senders",
    "max_prepared_xacts": "max_prepared_transactions",
    "max_locks_per_xact": "max_locks_per_transaction",
}
SOCKETS = "/run/postgresql"
ASK = "SELECT name, faults, example FROM check_data()"
# Numbers that somebody has seen, of what is lost now, are given to nothing else; a page knows events by theirs.
MOVE_ON = """
    SELECT count(setval(format('%I.%I', schemaname, sequencename), last_value + 10000))
      FROM pg_sequences WHERE schemaname = 'public' AND last_value IS NOT NULL
"""
TARGET = re.compile(r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d(:\d\d(\.\d{1,6})?)?([+-]\d\d(:?\d\d)?|Z)$")


def check_target(host: Host, target: str) -> None:
    """Refuse a point in time that the repository cannot give, before anything is touched."""
    backups = described(host)
    if not backups:
        raise Trouble("there is no backup to restore, so nothing was touched; hecto-backup list shows what is there")
    if target == "latest":
        return
    if not TARGET.match(target):
        raise Trouble(
            f"'{target}' is no point in time. Write it with its zone, such as 2026-11-29 10:00:00+00, or latest"
        )
    wanted = datetime.fromisoformat(target.replace("Z", "+00:00")).timestamp()
    if wanted < backups[0]["finished"]:
        oldest = datetime.fromtimestamp(backups[0]["finished"], UTC)
        raise Trouble(
            f"'{target}' is before the end of the oldest backup, {oldest:%Y-%m-%d %H:%M:%S} UTC: nothing was touched"
        )
    if wanted > time.time():
        raise Trouble(f"'{target}' has not come yet: nothing was touched")


def bring_back(host: Host, data: Path, target: str, timeline: str, *options: str) -> None:
    """Have pgBackRest put the files of a directory in place."""
    words = [f"--pg1-path={data}", *options]
    if target != "latest":
        words += ["--type=time", f"--target={target}", "--target-action=promote"]
    if timeline:
        words.append(f"--target-timeline={timeline}")
    host.pgbackrest("restore", *words, echo=True)


def wait_for_end(host: Host, log: Path | None, **where: Any) -> dict[str, Any]:
    """Wait until a server has replayed its log and takes writes; what it saw last."""
    since = time.monotonic()
    while True:
        try:
            if host.psql("SELECT pg_is_in_recovery()", database="postgres", **where) == "f":
                break
        except Trouble as trouble:
            if not _alive(host, log) and time.monotonic() - since > 30:
                raise Trouble(
                    f"PostgreSQL does not come up with what was restored. {_end_of(log) or trouble}"
                ) from None
        time.sleep(0.5)
    last = host.psql("SELECT extract(epoch FROM pg_last_xact_replay_timestamp())", database="postgres", **where)
    return {"last_commit": float(last) if last else None}


@contextmanager
def _explaining(target: str) -> Iterator[None]:
    """Say what is most likely where PostgreSQL ends instead of coming to a point in time."""
    try:
        yield
    except Trouble as trouble:
        if target == "latest":
            raise
        raise Trouble(
            f"{trouble} That is so where the log ends before {target}, since nothing was written after it. "
            "Then restore to latest, which is the same"
        ) from None


def _alive(host: Host, log: Path | None) -> bool:
    if log is not None or host.has_patroni:
        return ((log.parent / "data" if log else host.data) / "postmaster.pid").exists()
    # Replaying a long log it is still about to start. One that has ended is started again by systemd, over and over.
    words = ["systemctl", "show", host.unit, "--property=ActiveState", "--property=NRestarts"]
    said = subprocess.run(words, check=False, capture_output=True, text=True).stdout.splitlines()
    return "NRestarts=0" in said and ("ActiveState=active" in said or "ActiveState=activating" in said)


def _runs(host: Host) -> bool:
    return subprocess.run(["systemctl", "is-active", "--quiet", host.unit], check=False).returncode == 0


def _end_of(log: Path | None) -> str:
    return "Its log ends: " + log.read_text(errors="replace")[-1500:] if log and log.exists() else ""


def prove(host: Host, **where: Any) -> dict[str, Any]:
    """Look at every page and index, then ask the application's own check; raises Trouble where something is wrong."""
    begin_at = time.monotonic()
    options = [f"--host={where.get('directory', SOCKETS)}", f"--port={where.get('port', host.port)}"]
    program = str(host.programs / "pg_amcheck")
    as_postgres(program, *options, "--install-missing", "--heapallindexed", f"--database={host.database}")
    host.psql("DROP EXTENSION IF EXISTS amcheck", **where)
    pages = time.monotonic() - begin_at
    # What the database says of itself is run by who may only read.
    reader = f"SET ROLE {host.database}_read; SET statement_timeout = 0; "
    rows = host.psql(reader + ASK, **where).splitlines()
    faults = [row.split("|", 2) for row in rows if row.split("|", 2)[1] != "0"]
    if faults:
        said = "; ".join(f"{name}: {count}, such as {example}" for name, count, example in faults)
        raise Trouble(f"what was restored is not whole, by the application's own check: {said}")
    spent = {"amcheck_seconds": round(pages, 1), "check_seconds": round(time.monotonic() - begin_at - pages, 1)}
    return {"checks": len(rows), **spent}


def restorable(host: Host, target: str) -> dict[str, Any]:
    """See that a restore could begin, before anybody is kept from work for it; raises Trouble where it could not."""
    check_target(host, target)
    # Where Patroni leads, it has been stopped by then, and has handed over the end of its log.
    if not host.has_patroni and _runs(host):
        _archive_all(host)
    return {"target": target}


def restore(host: Host, target: str, timeline: str = "") -> dict[str, Any]:
    """Replace the database of this host by what the repository has. Whoever used it must be stopped before."""
    began = time.time()
    check_target(host, target)
    with alone():
        if _runs(host):
            _archive_all(host)
        _stop(host)
        as_postgres("mkdir", "--parents", "--mode=0700", str(host.data))
        bring_back(host, host.data, target, timeline, "--delta")
        copied = time.time()
        _start(host)
        with _explaining(target):
            found = wait_for_end(host, None)
        spent = {"restore_seconds": round(copied - began, 1), "recovery_seconds": round(time.time() - copied, 1)}
        host.psql(MOVE_ON)
        proved = prove(host)
        if host.has_patroni:
            _stop(host)
        return {"changed": True, "target": target, **spent, **found, **proved, **_times(began, found)}


def _start(host: Host) -> None:
    """Start the restored server; where Patroni shall lead it later, without Patroni, which knows another past."""
    if host.has_patroni:
        alone_there = f"-c listen_addresses='' -c port={host.port} -c unix_socket_directories={SOCKETS}"
        # Of a standby that is to have each commit there is none yet: they copy this server when Patroni leads it.
        alone_there += " -c synchronous_standby_names=''"
        words = ["start", "--no-wait", f"--pgdata={host.data}", f"--options={alone_there}", f"--log={STATE / 'log'}"]
        as_postgres(str(host.programs / "pg_ctl"), *words)
        return
    subprocess.run(["systemctl", "reset-failed", host.unit], check=False, capture_output=True)
    # Recovery may outlast the time that systemd gives a start: what counts is what the server answers.
    subprocess.run(["systemctl", "start", "--no-block", host.unit], check=True)


def _stop(host: Host) -> None:
    subprocess.run(["systemctl", "stop", host.unit], check=True)
    if (host.data / "postmaster.pid").exists() and host.has_patroni:
        as_postgres(str(host.programs / "pg_ctl"), "stop", "--mode=fast", f"--pgdata={host.data}")


def _is_empty(host: Host) -> bool:
    """Whether this is the new database of a host that was made anew, with nothing in it that could be lost."""
    known = {str(one["system-id"]) for one in host.info()["db"]}
    if host.system(host.data)["Database system identifier"] in known:
        return False
    return host.psql("SELECT count(*) FROM pg_stat_user_tables") == "0"


def _archive_all(host: Host) -> None:
    """Have a living server hand over the end of its log: what it holds alone would be lost."""
    try:
        if not _is_empty(host):
            # PostgreSQL comes to a point in time only where a commit follows it, and nobody may have written since.
            host.psql("SELECT pg_current_xact_id()")
            host.pgbackrest("check")
    except Trouble as trouble:
        raise Trouble(
            "PostgreSQL runs, but the repository does not get its log, so a restore would lose what is there alone. "
            "Nothing was touched. Mend the archive, or stop PostgreSQL where its data shall be thrown away "
            f"(systemctl stop {host.unit}). {trouble}"
        ) from None


def _times(began: float, found: dict[str, Any]) -> dict[str, Any]:
    last = found["last_commit"]
    lost = None if last is None else round(max(began - last, 0.0), 1)
    return {"rto_seconds": round(time.time() - began, 1), "last_commit_age_seconds": lost}


# Trying, beside the database that runs.


def scratch(host: Host, directory: Path, target: str, timeline: str = "", *, keep: bool) -> dict[str, Any]:
    """Restore into a directory of its own and look whether it is whole; the database that runs is not touched."""
    began = time.time()
    check_target(host, target)
    with alone():
        _require_room(host, directory)
        data, log = directory / "data", directory / "log"
        remove(host, directory)
        as_postgres("mkdir", "--parents", "--mode=0700", str(data))
        where = {"directory": str(directory), "port": SCRATCH_PORT}
        try:
            get = f'pgbackrest --stanza={host.stanza} --pg1-path={data} archive-get %f "%p"'
            options = ["--archive-mode=off", f"--recovery-option=restore_command={get}"]
            bring_back(host, data, target, timeline, *options)
            copied = time.time()
            _start_scratch(host, directory)
            with _explaining(target):
                found = wait_for_end(host, log, **where)
            spent = {"restore_seconds": round(copied - began, 1), "recovery_seconds": round(time.time() - copied, 1)}
            proved = prove(host, **where)
        except BaseException:
            keep = False
            raise
        finally:
            if not keep:
                remove(host, directory)
        return {"target": target, "directory": str(directory), **spent, **found, **proved, **_times(began, found)}


def _require_room(host: Host, directory: Path) -> None:
    above = next(path for path in (directory, *directory.parents) if path.exists())
    needed, free = described(host)[-1]["database_bytes"], shutil.disk_usage(above).free
    if free < needed * 1.2:
        raise Trouble(
            f"{directory} has room for {size(free)}, and the database takes {size(needed)} and a fifth more for its "
            "log. Nothing was restored. Make room there, or give backup_scratch_directory another disk"
        )


def _start_scratch(host: Host, directory: Path) -> None:
    """Start a small server that only its own socket leads to."""
    data = directory / "data"
    known = host.system(data)
    settings = {
        "unix_socket_directories": directory,
        "listen_addresses": "",
        "port": SCRATCH_PORT,
        "shared_buffers": "32MB",
        "maintenance_work_mem": "64MB",
        "fsync": "off",
        "autovacuum": "off",
        "hba_file": data / "scratch_hba.conf",
        **{setting: known[f"{name} setting"] for name, setting in MUST_NOT_SHRINK.items()},
    }
    lines = [f"{name} = '{value}'" for name, value in settings.items()]
    put = "import sys; open(sys.argv[1], 'w').write(sys.argv[2])"
    as_postgres("python3", "-c", put, str(data / "postgresql.conf"), "\n".join(lines) + "\n")
    # Who gets to the socket may do anything, and the directory is closed to all but postgres.
    as_postgres("python3", "-c", put, str(data / "scratch_hba.conf"), "local all all trust\n")
    words = ["start", "--no-wait", f"--pgdata={data}", f"--log={directory / 'log'}", "--silent"]
    as_postgres(str(host.programs / "pg_ctl"), *words)


def remove(host: Host, directory: Path) -> dict[str, Any]:
    """End and remove a scratch cluster."""
    data = directory / "data"
    if (data / "postmaster.pid").exists():
        as_postgres(str(host.programs / "pg_ctl"), "stop", "--mode=immediate", f"--pgdata={data}", "--silent")
    if directory.exists():
        as_postgres("find", str(directory), "-mindepth", "1", "-delete")
    return {"removed": str(directory)}


def test(host: Host, directory: Path) -> dict[str, Any]:
    """Restore the latest, look whether it is whole, and write down how long it took; raises Trouble where it is not."""
    began = time.time()
    try:
        result = {"success": True, **scratch(host, directory, "latest", keep=False)}
    except Trouble as trouble:
        result = {"success": False, "message": str(trouble)}
    result = {"at": int(began), "seconds": round(time.time() - began, 1), **result}
    write(STATE / "restore-test.json", json.dumps(result, indent=2) + "\n")
    if not result["success"]:
        raise Trouble(f"the restore test failed: {result['message']} Until it passes, do not count on the backups")
    return result
