"""./hecto test itself: it goes on after a failure, ends what hangs, and adds up."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

from control import testing
from control.stages import Command, Stage, unit

PYTHON = sys.executable


@pytest.fixture(autouse=True)
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(testing, "LOG", tmp_path)


def stage(*scripts: str, seconds: float = 60, needs_host: bool = False) -> Stage:
    commands = [Command([PYTHON, "-c", script]) for script in scripts]
    return Stage("a", "an example", lambda: commands, needs_host=needs_host, minutes=seconds / 60)


def test_every_command_of_a_stage_runs_and_one_failure_fails_it() -> None:
    result = testing.run_stage(stage("raise SystemExit(1)", "print('===== 3 passed in 0.10s =====')"))
    assert len(result.failed) == 1
    assert result.closing == ["===== 3 passed in 0.10s ====="]


def test_the_sum_names_the_tests_that_failed() -> None:
    said = ["noise", "FAILED tests/unit/test_a.py::test_b - assert 1 == 2", "===== 1 failed, 2 passed in 0.10s ====="]
    result = testing.run_stage(stage(f"print({chr(10).join(said)!r}); raise SystemExit(1)"))
    assert result.closing == said[1:]


def test_with_a_host_the_first_failure_ends_the_stage() -> None:
    result = testing.run_stage(stage("raise SystemExit(1)", "print('===== 3 passed in 0.10s =====')", needs_host=True))
    assert result.closing == []


def test_what_hangs_is_ended_with_its_children() -> None:
    script = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'import time; time.sleep(60)'])"
    started = time.monotonic()
    result = testing.run_stage(stage(script, seconds=1.5))
    assert result.failed
    assert time.monotonic() - started < 20


def test_the_whole_run_ends_in_time_however_long_a_stage_may_take() -> None:
    started = time.monotonic()
    one = stage("import time; time.sleep(60)", "print('the next one')", seconds=60)
    result = testing.run_stage(one, started + 1.5)
    assert len(result.failed) == 2
    assert "no time is left" in result.failed[1]
    assert testing.run_stage(stage("pass"), started).failed, "it must not look as if it had passed"
    assert time.monotonic() - started < 20


@pytest.mark.parametrize(("good", "code"), [(True, 0), (False, 1)])
def test_the_sum_decides(good: bool, code: int, capsys: pytest.CaptureFixture[str]) -> None:
    results = [testing.run_stage(stage("pass")), testing.run_stage(stage("pass" if good else "raise SystemExit(2)"))]
    assert testing.sum_up(results) == code
    closing = capsys.readouterr().out.splitlines()[-1]
    assert closing == ("2 stages passed, 0 failed" if good else "1 stages passed, 1 failed")


def test_pytest_is_the_project_s_own() -> None:
    assert ".venv/bin/pytest" in unit()[0].words[0]
