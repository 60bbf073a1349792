"""What hecto-backup decides by itself; that it brings a database back is proven on a host, by molecule/backup."""

from __future__ import annotations

import hashlib
import json
import os
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.plugins import load

ROLE = Path(__file__).resolve().parents[2] / "roles/backup"


@pytest.fixture(scope="module")
def tool() -> Iterator[tuple[ModuleType, ModuleType, ModuleType]]:
    """Its modules, which find each other in their own directory, as on a host."""
    program = ROLE / "files/hecto_backup"
    sys.path.insert(0, str(program))
    names = ("host", "taking", "recovery")
    loaded = []
    try:
        for name in names:
            loaded.append(load(program / f"{name}.py"))
            sys.modules[name] = loaded[-1]
        yield tuple(loaded)
    finally:
        sys.path.remove(str(program))
        for name in names:
            sys.modules.pop(name, None)


DAY = 86400


def backup(kind: str, stop: float, *, error: bool = False) -> dict[str, Any]:
    """As `pgbackrest info --output=json` says it."""
    size = {"size": 30_000_000, "repository": {"delta": 4_000_000}}
    return {"label": f"{kind}-{stop:.0f}", "type": kind, "timestamp": {"stop": int(stop)}, "info": size, "error": error}


class Repository:
    """A host whose repository holds these backups."""

    def __init__(self, *backups: dict[str, Any], system: int = 1) -> None:
        self.backups, self.number, self.has_database, self.data = backups, system, True, Path("/data")

        self.tables, self.unit, self.has_patroni = "0", "postgresql.service", False
        self.tests = True
        self.takes, self.sees_all, self.in_recovery, self.code, self.asked = True, False, "f", 0, list[str]()

    def info(self) -> dict[str, Any]:
        return {"status": {"code": self.code}, "backup": list(self.backups), "db": [{"system-id": 1}]}

    def pgbackrest(self, command: str, *_: str) -> None:
        self.asked.append(command)
        self.code = 2 if command == "stanza-create" else self.code

    def system(self, data: Path) -> dict[str, str]:
        return {"Database system identifier": str(self.number)}

    def psql(self, statement: str, **_: Any) -> str:
        if "user_tables" in statement:
            return self.tables
        return self.in_recovery if statement == "SELECT pg_is_in_recovery()" else "1234.5|7|0.5"


def test_a_time_that_cannot_be_had_is_refused_before_anything_is_touched(tool):
    host, _, recovery = tool
    now = time.time()
    repository = Repository(backup("full", now - DAY), backup("incr", now - DAY / 2))
    for target, why in (
        ("yesterday", "no point in time"),
        ("2026-11-29 10:00:00", "with its zone"),
        ("2020-01-01 10:00:00+00", "before the end of the oldest backup"),
        ("2199-01-01 10:00:00Z", "has not come yet"),
    ):
        with pytest.raises(host.Trouble, match=why):
            recovery.check_target(repository, target)
    with pytest.raises(host.Trouble, match="no backup to restore"):
        recovery.check_target(Repository(), "latest")


def test_what_only_a_living_server_has_is_handed_over_before_it_is_replaced(tool, monkeypatch):
    """The new, empty database of a host that was lost has nothing to hand over, and the repository would refuse it."""
    _, _, recovery = tool
    monkeypatch.setattr(recovery, "_runs", lambda _: True)
    known, empty, other = (Repository(backup("full", 1), system=system) for system in (1, 2, 2))
    other.tables = "3"
    for host in (known, empty, other):
        recovery.restorable(host, "latest")
    assert (known.asked, empty.asked, other.asked) == (["check"], [], ["check"])


@pytest.mark.parametrize(
    ("said", "alive"),
    [
        ("ActiveState=active\nNRestarts=0", True),
        ("ActiveState=activating\nNRestarts=0", True),  # it replays its log
        ("ActiveState=activating\nNRestarts=2", False),  # it has ended, and systemd tries again
        ("ActiveState=failed\nNRestarts=0", False),
    ],
)
def test_a_server_that_replays_its_log_is_waited_for(tool, monkeypatch, said, alive):
    _, _, recovery = tool
    monkeypatch.setattr(recovery.subprocess, "run", lambda *_, **__: subprocess.CompletedProcess([], 0, said))
    assert recovery._alive(Repository(), None) is alive


@pytest.mark.parametrize("zone", ["+00", "+0000", "+00:00", "Z"])
def test_a_time_within_is_taken(tool, zone):
    _, _, recovery = tool
    moment = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(time.time() - 60)) + zone
    recovery.check_target(Repository(backup("full", time.time() - DAY)), moment)


def test_another_database_does_not_get_into_the_repository(tool):
    host, taking, _ = tool
    with pytest.raises(host.Trouble, match="another database") as raised:
        taking.begin(Repository(backup("full", 1), system=2))
    assert "restore.yml" in str(raised.value)


def test_a_repository_begins_once_and_by_the_primary_alone(tool, tmp_path):
    _, taking, _ = tool
    (tmp_path / "PG_VERSION").touch()
    fresh, standby, known = Repository(), Repository(), Repository(backup("full", 1))
    for host in (fresh, standby, known):
        host.data = tmp_path
    fresh.code = standby.code = 1
    standby.in_recovery = "t"
    assert taking.begin(fresh) == {"changed": True, "first": True}
    assert taking.begin(standby) == taking.begin(known) == {"changed": False, "first": False}
    assert (fresh.asked, standby.asked, known.asked) == (["stop", "start", "stanza-create", "check"], [], [])


def test_a_repository_that_does_not_answer_is_not_an_empty_one(tool, monkeypatch):
    host, taking, _ = tool
    settings = {"stanza": "s", "database": "d", "version": 17, "data": "/data", "unit": "u", "port": 1}
    asked = host.Host({**settings, "takes": True, "sees_all": False, "has_database": True, "tests": True})
    said = [{"status": {"code": 99, "message": "other"}, "repo": [{"status": {"code": 99, "message": "no host"}}]}]
    monkeypatch.setattr(asked, "pgbackrest", lambda *_: json.dumps(said))
    with pytest.raises(host.Trouble, match=r"does not answer.*no host"):
        taking.described(asked)
    monkeypatch.setattr(asked, "psql", lambda *_, **__: "1|2|0")
    lines = taking.metrics(asked).splitlines()
    assert "hecto_backup_archive_failed_total 2" in lines
    assert not any("last_full" in line for line in lines)


def test_the_lock_of_one_user_is_the_others_as_well(tool, tmp_path, monkeypatch):
    """Root restores, postgres takes backups, and either may be the first."""
    host, _, _ = tool
    monkeypatch.setattr(host, "LOCK", tmp_path / "lock")
    before = os.umask(0o077)
    try:
        with host.alone():
            assert stat.S_IMODE((tmp_path / "lock").stat().st_mode) == 0o644
    finally:
        os.umask(before)
    (tmp_path / "lock").chmod(0o444)  # as another's is: to be read, no more
    with host.alone():
        pass


def test_the_list_says_what_a_person_wants_to_know(tool):
    _, taking, _ = tool
    shown = taking.table(taking.described(Repository(backup("full", 0), backup("incr", DAY, error=True)))).splitlines()
    assert "1970-01-01 00:00:00" in shown[1]
    assert "30.0 MB" in shown[1]
    assert shown[2].endswith("damaged")
    assert "incremental" in shown[2]


def test_the_monitoring_hears_of_good_backups_alone(tool, tmp_path, monkeypatch):
    _, taking, _ = tool
    monkeypatch.setattr(taking, "STATE", tmp_path)
    (tmp_path / "restore-test.json").write_text(json.dumps({"success": False, "at": 99, "seconds": 5.5}))
    repository = Repository(backup("full", 10), backup("incr", 20), backup("full", 30, error=True))
    lines = taking.metrics(repository).splitlines()
    assert {line for line in lines if not line.startswith("#")} == {
        "hecto_backup_last_full_timestamp_seconds 10",
        "hecto_backup_last_timestamp_seconds 20",
        "hecto_backup_archive_last_timestamp_seconds 1234.5",
        "hecto_backup_archive_failed_total 7",
        "hecto_backup_archive_waiting_seconds 0.5",
        "hecto_restore_test_success 0",
        "hecto_restore_test_timestamp_seconds 99",
        "hecto_restore_test_seconds 5.5",
    }


def test_a_host_that_tests_no_more_says_nothing_of_its_last_test(tool, tmp_path, monkeypatch):
    """Or its age would raise an alarm for ever."""
    _, taking, _ = tool
    monkeypatch.setattr(taking, "STATE", tmp_path)
    (tmp_path / "restore-test.json").write_text(json.dumps({"success": True, "at": 99, "seconds": 5.5}))
    repository = Repository(backup("full", 10))
    repository.tests = False
    assert "restore_test" not in taking.metrics(repository)


def test_the_monitoring_hears_of_backups_while_the_database_restarts(tool, tmp_path, monkeypatch):
    host, taking, _ = tool
    monkeypatch.setattr(taking, "STATE", tmp_path)
    repository = Repository(backup("full", 10))

    def away(*_, **__):
        raise host.Trouble("psql failed with exit code 2: no such file or directory")

    monkeypatch.setattr(repository, "psql", away)
    lines = taking.metrics(repository).splitlines()
    assert "hecto_backup_last_timestamp_seconds 10" in lines
    assert not any("archive" in line for line in lines)


def test_only_what_differs_is_written(tmp_path):
    filters = load(ROLE / "filter_plugins/backup.py")
    same, other, wrong_mode, missing = (tmp_path / name for name in ("same", "other", "mode", "missing"))
    for path in (same, other, wrong_mode):
        path.write_text("it's this\n")
        path.chmod(0o644)
    wrong_mode.chmod(0o600)
    files = [{"path": str(path), "mode": "644", "text": "it's this\n"} for path in (same, other, wrong_mode, missing)]
    files[1]["text"] = "it's that\n"
    # The owner is root where the role works; here it is whoever tests.
    script = filters.differing(files).replace("644 root root", f"644 {other.owner()} {other.group()}")
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=False)
    assert done.stdout.split() == [str(other), str(wrong_mode), str(missing)]


def test_the_look_shows_no_secret():
    filters = load(ROLE / "filter_plugins/backup.py")
    script = filters.differing([{"path": "/etc/pgbackrest.conf", "mode": "640", "group": "postgres", "text": "secret"}])
    assert "secret" not in script
    assert hashlib.sha256(b"secret").hexdigest() in script


def test_the_exporter_can_read_what_it_is_told(tmp_path: Path) -> None:
    """The exporter is another user, and the unit writes under a mask that leaves nothing to others."""
    unit = (ROLE / "templates/hecto-backup-metrics.service.j2").read_text()
    assert "confine.j2" in unit
    mask = next(line for line in (ROLE / "templates/confine.j2").read_text().splitlines() if line.startswith("UMask="))
    command = next(line for line in unit.splitlines() if line.startswith("ExecStartPost=+")).split("'")[1]
    (tmp_path / "metrics").write_text("hecto_backup_last_timestamp_seconds 1\n")
    for path in ("/var/lib/prometheus/node-exporter", "/var/lib/hecto/backup"):
        command = command.replace(path, str(tmp_path))
    subprocess.run(["sh", "-c", f"umask {mask.partition('=')[2]}; {command}"], check=True)
    written = tmp_path / "hecto-backup.prom"
    assert written.read_text() == "hecto_backup_last_timestamp_seconds 1\n"
    assert written.stat().st_mode & 0o777 == 0o644
    assert not (tmp_path / ".hecto-backup.new").exists()
