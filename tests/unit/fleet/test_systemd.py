"""What systemd is asked to do, seen by stand-ins of its commands."""

import os
from pathlib import Path

import pytest

from hecto.fleet.errors import FleetError
from hecto.fleet.supervisor import Systemd, said

STANDIN = """#!/bin/sh
echo "$(basename $0) $*" >> "$CALLS"
case "$1" in
    show) cat "$SHOWN" ;;
    stop) echo "Unit hecto@9.service not loaded." >&2; exit "$STOP" ;;
    -t) printf 'Traceback\\nImportError: no\\n' ;;
    reset-failed) exit 1 ;;
    start) exit "${START:-0}" ;;
esac
"""


@pytest.fixture
def calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("systemctl", "journalctl"):
        (tmp_path / name).write_text(STANDIN)
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("CALLS", str(tmp_path / "calls"))
    monkeypatch.setenv("SHOWN", str(tmp_path / "shown"))
    monkeypatch.setenv("STOP", "0")
    (tmp_path / "shown").write_text("")
    return tmp_path / "calls"


def test_a_start_does_not_wait_and_forgets_earlier_failures_of_these_alone(calls: Path) -> None:
    Systemd().start([3, 4])
    Systemd().start([])
    assert calls.read_text().splitlines() == [
        "systemctl reset-failed hecto@3.service hecto@4.service",
        "systemctl start --no-block hecto@3.service hecto@4.service",
    ]


def test_a_unit_that_cannot_be_started_at_all_is_said_at_once(calls: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("START", "5")
    with pytest.raises(FleetError, match=r"systemctl start --no-block hecto@3.service failed: 5\."):
        Systemd().start([3])


def test_units_that_were_written_and_not_read_are_read_before_a_start(calls: Path, tmp_path: Path) -> None:
    (tmp_path / "shown").write_text("Id=hecto@1.service\nNeedDaemonReload=yes\n")
    systemd = Systemd()
    systemd.units()
    systemd.start([1])
    systemd.start([1])
    verbs = [line.split()[1] for line in calls.read_text().splitlines()]
    assert verbs == ["show", "daemon-reload", "reset-failed", "start", "reset-failed", "start"]


def test_a_stop_that_fails_is_said_unless_nothing_runs(
    calls: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STOP", "5")
    Systemd().stop([9])
    (tmp_path / "shown").write_text("Id=hecto@9.service\nActiveState=failed\n")
    Systemd().stop([9])
    (tmp_path / "shown").write_text("Id=hecto@9.service\nActiveState=active\n")
    with pytest.raises(FleetError, match=r"could not stop hecto@9.service: Unit .* They are left as they are"):
        Systemd().stop([9])


def test_what_an_instance_logged_is_shown_as_a_person_reads_it() -> None:
    line = '{"level":"error","message":"Worker failed","exception":"Traceback\\nImportError: no","release":"1a"}'
    assert said(line) == ["Worker failed", "Traceback", "ImportError: no"]
    assert said("Started hecto@7.service") == ["Started hecto@7.service"]
    assert said("7") == ["7"]


def test_the_last_words_of_an_instance(calls: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert Systemd().journal(7, 1700000000.4) == ["Traceback", "ImportError: no"]
    assert calls.read_text().split()[:4] == ["journalctl", "-t", "hecto-7", "--since=@1700000000"]
    # A journal that cannot be asked is no reason to stop half-way.
    monkeypatch.setenv("PATH", "/nowhere")
    assert Systemd().journal(7, 0) == []
