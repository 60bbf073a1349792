"""What a person sees: steps, failures, a playbook's progress."""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path

import pytest

from control.playbook import Follower, _last_word
from control.progress import Failure, Step, step
from control.shell import attempt, locked, output, run

PLAYBOOK = """
PLAY [Every host] **************

TASK [Gathering Facts] *********
ok: [hecto-local]

TASK [base : Install packages] *
changed: [hecto-local]

TASK [hecto : Fleet | Migrate] *
[ERROR]: Task failed: Module failed: non-zero return code
fatal: [hecto-local]: FAILED! =>

RUNNING HANDLER [hecto : Reload systemd] **

PLAY RECAP *********************
hecto-local                : ok=65   changed=3    unreachable=0    failed=1    skipped=3    rescued=0    ignored=0
"""


ROLL = """
PLAY [Roll, host by host] ******

TASK [hecto : Roll | Plan the batches] ***
ok: [hecto-local]

TASK [hecto : Batch | 1 of 2, instance 1] ***
changed: [hecto-local]

TASK [hecto : Batch | 2 of 2, instances 2-3] ***
[ERROR]: Task failed: Module failed: non-zero return code
fatal: [hecto-local]: FAILED! =>
    stdout: '{"error": "short"}'

TASK [hecto : Return | Say what happened] ***
[ERROR]: Task failed: Action failed: hecto-local, at 'Batch | 2 of 2, instances 2-3': instance-2 does not start.

Its instances are back.
Origin: /somewhere/roles/hecto/tasks/return.yml:36:3

fatal: [hecto-local]: FAILED! =>
    changed: false

PLAY RECAP *********************
hecto-local                : ok=65   changed=1    unreachable=0    failed=1    skipped=3    rescued=1    ignored=0
"""


def test_a_failed_command_names_itself_its_log_and_its_last_lines(tmp_path: Path) -> None:
    log = tmp_path / "log" / "step.log"
    script = "print('before'); print('the reason'); raise SystemExit(3)"
    with pytest.raises(Failure) as caught:
        run([sys.executable, "-c", script], log=log, advice="mend it")
    text = caught.value.render()
    assert "exit code 3" in text
    assert "the reason" in text
    assert str(log) in text
    assert "mend it" in text
    assert "before" in log.read_text()


def test_a_missing_program_is_no_traceback() -> None:
    with pytest.raises(Failure, match="not installed") as caught:
        attempt(["no-such-program-anywhere"])
    assert caught.value.advice


def test_output_carries_what_went_wrong() -> None:
    broken = [sys.executable, "-c", "import sys; sys.exit('it is broken')"]
    with pytest.raises(Failure) as caught:
        output(broken)
    assert "it is broken" in caught.value.render()
    assert "What to do: mend what is said above" in caught.value.render()
    with pytest.raises(Failure) as caught:
        output(broken, advice="buy a new one")
    assert "What to do: buy a new one" in caught.value.render()


def test_a_step_says_how_it_ended(capsys: pytest.CaptureFixture[str]) -> None:
    with step("Boil water"):
        pass
    with pytest.raises(ValueError, match="cold"), step("Make tea"):
        raise ValueError("cold")
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("  ok   Boil water")
    assert lines[1].startswith("  FAIL Make tea")


def test_a_roll_shows_its_batches(capsys: pytest.CaptureFixture[str]) -> None:
    follower = Follower(Step("Playbook"), by_play=True)
    for line in ROLL.splitlines():
        follower.see(line)
    assert follower.failed == "hecto : Batch | 2 of 2, instances 2-3"
    lines = [" ".join(line.split()[:-2]) for line in capsys.readouterr().err.splitlines()]
    assert lines == ["batch 1 of 2, instance 1", "FAIL batch 2 of 2, instances 2-3", "Roll, host by host"]


def test_a_playbook_s_own_words_count_most(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text(ROLL)
    assert _last_word(log).splitlines() == [
        "hecto-local, at 'Batch | 2 of 2, instances 2-3': instance-2 does not start.",
        "",
        "Its instances are back.",
    ]
    log.write_text(PLAYBOOK)
    assert _last_word(log) == ""


def test_a_second_run_is_told_who_is_at_work(tmp_path: Path) -> None:
    with (
        locked(tmp_path / "lock", "works here"),
        pytest.raises(Failure, match=f"process {os.getpid()}"),
        locked(tmp_path / "lock", "works here", wait=False),
    ):
        pass
    with locked(tmp_path / "lock", "works here", wait=False):
        pass


def test_a_lock_of_somebody_else_is_no_traceback(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path, mode: str) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(Failure, match="belongs to somebody else") as caught, locked(tmp_path / "lock", "works here"):
        pass
    assert str(tmp_path / "lock") in caught.value.what
    assert "chown" in caught.value.advice


def test_a_playbook_s_first_failure_counts(capsys: pytest.CaptureFixture[str]) -> None:
    follower = Follower(Step("Playbook"))
    for line in PLAYBOOK.splitlines():
        follower.see(line)
    assert follower.failed == "hecto : Fleet | Migrate"
    assert follower.changed == 3
    assert [line.split()[1] for line in capsys.readouterr().err.splitlines()] == ["base", "hecto"]
