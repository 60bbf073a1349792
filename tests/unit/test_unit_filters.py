"""Commands about units: they find a misspelt directive, and files that an interrupted run left without a restart."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from tests.plugins import load

units = load("playbooks/filter_plugins/units.py")


def shell(script: str) -> str:
    """What a script prints."""
    return subprocess.run(["sh", "-c", script], text=True, capture_output=True, check=False).stdout


def check(file: Path, unit: str, *, drop_in: bool) -> subprocess.CompletedProcess[str]:
    """As Ansible runs it: the words of the command, with the file in the place of %s."""
    words = shlex.split(units.unit_check(unit, drop_in=drop_in) % file)
    return subprocess.run(words, text=True, capture_output=True, check=False)


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")
@pytest.mark.parametrize(
    ("line", "fine"), [("ProtectHome=yes", True), ("ProtectHome=maybe", False), ("ProtectHoem=yes", False)]
)
def test_a_misspelt_directive_is_refused(tmp_path: Path, line: str, fine: bool) -> None:
    file = tmp_path / ".source.tmp"
    file.write_text(f"[Service]\nExecStart=/no/such/program\n{line}\n")
    done = check(file, "hecto-example@1.service", drop_in=False)
    assert (done.returncode == 0) is fine, done.stderr
    assert fine or ":3:" in done.stderr, "which line it is"


def test_a_check_that_cannot_be_made_is_no_success(tmp_path: Path) -> None:
    assert check(tmp_path / "missing", "hecto-example@1.service", drop_in=False).returncode != 0


@pytest.mark.parametrize(("packages", "says"), [(["dpkg"], ""), (["dpkg", "no-such-package"], "packages\n")])
def test_a_missing_package_is_named_as_work_to_do(packages: list[str], says: str) -> None:
    assert shell(units.absent(packages)) == says


def test_a_missing_directory_is_named_as_work_to_do(tmp_path: Path) -> None:
    assert shell(units.lacking([str(tmp_path)])) == ""
    assert shell(units.lacking([str(tmp_path), str(tmp_path / "with a space")])) == "directories\n"


@pytest.fixture
def started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A systemctl that says when a unit was started, which is the time in this file."""
    since = tmp_path / "since"
    systemctl = tmp_path / "bin" / "systemctl"
    systemctl.parent.mkdir()
    systemctl.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/asked\ncat {since}\n')
    systemctl.chmod(0o755)
    monkeypatch.setenv("PATH", f"{systemctl.parent}:{os.environ['PATH']}")
    return since


def start(since: Path) -> None:
    time.sleep(0.02)  # file times come from a clock of 4 ms
    now = time.time()
    since.write_text(time.strftime("%a %Y-%m-%d %H:%M:%S", time.gmtime(now)) + f"{now % 1:.6f} UTC\n"[1:])
    time.sleep(0.02)


def test_a_file_that_is_newer_than_the_start_is_found(tmp_path: Path, started: Path) -> None:
    read, other = tmp_path / "it's read.conf", tmp_path / "missing.conf"
    script = units.stale([{"name": "restart it", "unit": "a.service", "files": [str(read), str(other)]}])

    def found() -> str:
        return subprocess.run(["sh", "-c", script], text=True, capture_output=True, check=False).stdout

    started.write_text("\n")
    read.write_text("first")
    assert found() == "", "a unit that never ran has missed nothing"
    start(started)
    assert found() == ""
    read.write_text("second")
    assert found() == "restart it\n"
    start(started)
    assert found() == ""
    # A file that is moved into its place is newer than its content.
    read.with_name("new").write_text("third")
    start(started)
    read.with_name("new").replace(read)
    assert found() == "restart it\n"


def test_a_reload_counts_where_it_is_enough(tmp_path: Path, started: Path) -> None:
    start(started)
    entries = [
        {"name": "reload", "unit": "a.service", "files": ["/x"], "reload": True},
        {"name": "restart", "unit": "b@1.service", "files": ["/y"]},
    ]
    subprocess.run(["sh", "-c", units.stale(entries)], check=False)
    asked = (tmp_path / "asked").read_text().splitlines()
    assert [line.split()[1:3] for line in asked] == [
        ["a.service", "--property=StateChangeTimestamp"],
        ["b@1.service", "--property=ActiveEnterTimestamp"],
    ]
