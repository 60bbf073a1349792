"""The command line: exit codes for scripts, JSON for the playbook, a table for people."""

import io
import json
import re
from typing import Any

import pytest

from hecto.fleet import cli
from hecto.fleet.layout import Layout, move_link
from hecto.fleet.lock import exclusive
from hecto.fleet.supervisor import parse_units, units_of
from hecto.fleet.words import duration
from tests.unit.fleet.conftest import BROKEN, NEW, OLD
from tests.unit.fleet.processes import Processes

QUICKLY = ["--ready-timeout", "10", "--drain-timeout", "0.5", "--canary-seconds", "0.3"]


def fleet(layout: Layout, processes: Processes, *words: str) -> int:
    return cli.run(cli.parser().parse_args(words), layout, processes)


def result(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    found = json.loads(capsys.readouterr().out)
    assert isinstance(found, dict)
    return found


def test_apply_roll_and_status_as_the_playbook_reads_them(
    layout: Layout, processes: Processes, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fleet(layout, processes, "apply", "--instances", "2", "--release", OLD, "--json", *QUICKLY) == 0
    assert result(capsys) == {
        "changed": True,
        "started": [1, 2],
        "stopped": [],
        "resumed": [],
        "roll_due": [],
        "message": "",
    }
    processes.wanted = 2
    fleet(layout, processes, "activate", "--release", NEW)
    capsys.readouterr()
    assert fleet(layout, processes, "apply", "--instances", "2", "--json", *QUICKLY) == 0
    answer = result(capsys)
    assert answer["changed"] is False
    assert answer["roll_due"] == [{"instance": n, "reasons": [f"release {OLD}"]} for n in (1, 2)]
    assert answer["message"].startswith("A roll is due: 2 instances run with something old (release aaaaaaaaaaaa).")
    assert fleet(layout, processes, "roll", "--json", *QUICKLY) == 0
    assert result(capsys) == {
        "changed": True,
        "release": NEW,
        "batches": [[1], [2]],
        "moved": [1, 2],
        "resumed": False,
    }
    assert fleet(layout, processes, "status", "--json") == 0
    answer = result(capsys)
    assert (answer["ready"], answer["release"], answer["roll_due"]) == (True, NEW, [])
    assert (answer["last_good"], answer["roll"], answer["claim"], answer["busy"]) == (NEW, None, None, False)
    assert [row["state"] for row in answer["instances"]] == ["ready", "ready"]


def test_status_for_a_person(layout: Layout, processes: Processes, capsys: pytest.CaptureFixture[str]) -> None:
    move_link(layout.current, layout.release(OLD))
    fleet(layout, processes, "apply", "--instances", "2", *QUICKLY)
    capsys.readouterr()
    processes.wanted = 3
    assert fleet(layout, processes, "status") == 1
    lines = capsys.readouterr().out.splitlines()
    assert re.match(r"instance-1 +ready +aaaaaaaaaaaa +\ds +0 +0 +\d+ MB +0", lines[1])
    assert re.match(r"instance-3 +stopped", lines[3])
    assert lines[5].startswith("2 of 3 instances ready, ")


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["apply", "--instances", "0", "--release", OLD], 2),
        (["apply", "--instances", "1"], 2),
        (["roll", "--release", "nonsense"], 2),
        (["apply", "--instances", "1", "--release", BROKEN], 1),
        (["status"], 1),
    ],
)
def test_exit_codes(
    layout: Layout, processes: Processes, words: list[str], code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fleet(layout, processes, *words) == code
    if words[0] != "status":
        assert capsys.readouterr().err.startswith("hecto-fleet: ")


def test_a_locked_fleet_is_refused_but_may_be_looked_at(
    layout: Layout, processes: Processes, capsys: pytest.CaptureFixture[str]
) -> None:
    with exclusive(layout.lock):
        assert fleet(layout, processes, "apply", "--instances", "1", "--release", OLD, "--json") == 3
        answer = result(capsys)
        assert answer["exit_code"] == 3
        assert "Another run is changing the fleet" in answer["error"]
        assert fleet(layout, processes, "apply", "--instances", "1", "--release", OLD, "--check", "--json") == 0
        assert result(capsys)["started"] == [1]
        assert fleet(layout, processes, "status") == 1


def test_secrets_come_from_standard_input_and_never_show(
    layout: Layout, processes: Processes, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO('{"secret-key": "hush"}'))
    assert fleet(layout, processes, "secrets", "--json") == 0
    assert capsys.readouterr().out == '{"changed": true, "names": ["secret-key"]}\n'
    monkeypatch.setattr("sys.stdin", io.StringIO("hush"))
    assert fleet(layout, processes, "secrets", "--json") == 2
    assert "hush" not in "".join(capsys.readouterr())


SHOWN = """\
Id=hecto.target
Wants=hecto@2.service hecto@1.service
ActiveState=active
SubState=active
FragmentPath=/etc/systemd/system/hecto.target
DropInPaths=

MainPID=9338
Result=success
NRestarts=0
ExecMainStartTimestampMonotonic=3850643407
MemoryCurrent=[not set]
Id=hecto@1.service
Wants=tmp.mount
ActiveState=active
SubState=running
FragmentPath=/etc/systemd/system/hecto@.service
DropInPaths=/etc/systemd/system/hecto@.service.d/a.conf /etc/systemd/system/hecto@1.service.d/b.conf

MainPID=0
Result=exit-code
NRestarts=7
ExecMainStartTimestampMonotonic=0
MemoryCurrent=18446744073709551615
Id=hecto@12.service
Wants=tmp.mount
ActiveState=activating
SubState=auto-restart
FragmentPath=/etc/systemd/system/hecto@.service
DropInPaths=

"""


def test_what_systemctl_shows() -> None:
    units = parse_units(SHOWN, boot=1000.0)
    assert units.wanted == {1, 2}
    assert units.target_active
    one, twelve = units.by_number[1], units.by_number[12]
    assert (one.runs, one.pid, one.memory, one.restarts, len(one.files)) == (True, 9338, None, 0, 3)
    assert one.started == pytest.approx(4850.643407)
    assert (twelve.runs, twelve.result, twelve.memory, twelve.restarts) == (False, "exit-code", None, 7)
    assert units_of([3, 2]) == ["hecto@3.service", "hecto@2.service"]


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0s"), (12, "12s"), (421, "7m 1s"), (3600, "1h"), (7500, "2h 5m"), (273_600, "3d 4h")]
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text
