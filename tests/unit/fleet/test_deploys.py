"""A deploy as a whole: its claim on the host, its end, and what the host remembers of it."""

import json
import stat
import time
from collections.abc import Callable
from typing import Any

import pytest

from hecto.fleet import audit
from hecto.fleet import state as states
from hecto.fleet.host import Host
from hecto.fleet.layout import Layout, move_link
from hecto.fleet.state import Claim, Roll, State
from tests.unit.fleet.conftest import BROKEN, NEW, OLD, UNREADY
from tests.unit.fleet.fleets import QUICKLY, assert_all_on, begin, fleet, result
from tests.unit.fleet.processes import Processes

EMPTY = {"format": 1, "last_good": None, "good_before": None, "roll": None, "claim": None}
Make = Callable[..., str]
Run = Callable[..., tuple[int, dict[str, Any]]]


@pytest.fixture
def run(layout: Layout, processes: Processes, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command; its exit code and its JSON."""

    def command(*words: str) -> tuple[int, dict[str, Any]]:
        capsys.readouterr()
        waiting = QUICKLY if words[0] in ("apply", "roll", "finish") else []
        code = fleet(layout, processes, *words, *waiting, "--json")
        return code, result(capsys)

    return command


def test_a_deploy_from_its_claim_to_its_end(host: Host, layout: Layout, processes: Processes, run: Run) -> None:
    begin(host, processes, 2)
    move_link(layout.current, layout.release(OLD))
    ada = ("--who", "ada@laptop", "--run", "1")
    code, answer = run("claim", *ada, "--release", NEW, "--seconds", "30")
    assert (code, answer["who"], answer["release"], answer["taken_from"]) == (0, "ada@laptop", NEW, None)
    assert run("activate", "--release", NEW)[0] == 0
    # A plan is no step: whoever looks needs no claim.
    code, answer = run("roll", "--release", NEW, "--plan-only")
    assert (code, answer["changed"], answer["batches"]) == (0, True, [[1], [2]])
    for batch in answer["batches"]:
        code, done = run("roll", "--release", NEW, "--instances", ",".join(map(str, batch)), *ada)
        assert (code, done["changed"], done["moved"]) == (0, True, batch)
        known = run("status")[1]
        assert (known["roll"]["release"], known["roll"]["interrupted"], known["last_good"]) == (NEW, False, OLD)
    assert known["roll"]["from"] == {"1": OLD, "2": OLD}
    assert known["roll"]["done"] == [1, 2]
    code, answer = run("finish", "--release", NEW, *ada)
    assert (code, answer) == (0, {"changed": True, "release": NEW, "removed": []})
    known = run("status")[1]
    assert (known["last_good"], known["good_before"], known["roll"], known["claim"]) == (NEW, OLD, None, None)
    assert run("finish", "--release", NEW, *ada)[1]["changed"] is False
    assert_all_on(layout, processes, NEW, 2)


def test_a_second_deploy_is_refused_with_who_and_since_when(
    host: Host, layout: Layout, processes: Processes, run: Run
) -> None:
    begin(host, processes, 2)
    run("claim", "--who", "ada", "--release", NEW, "--seconds", "60")
    for words in (
        ("claim", "--who", "bob", "--release", BROKEN),
        ("roll", "--release", NEW, "--who", "bob"),
        ("finish", "--release", OLD, "--who", "bob"),
        ("apply", "--instances", "3", "--release", OLD, "--who", "bob"),
    ):
        code, answer = run(*words)
        assert (code, answer["exit_code"], answer["who"], answer["release"]) == (3, 3, "ada", NEW)
        for part in (f"ada is deploying release {NEW}", answer["since"], answer["until"], "--take-over"):
            assert part in answer["error"]
    assert processes.calls == []
    assert run("unclaim", "--who", "bob")[1] == {"changed": False}
    assert run("unclaim", "--who", "ada")[1] == {"changed": True}
    assert run("claim", "--who", "bob")[0] == 0


def test_a_restore_keeps_deploys_away_and_says_what_it_is(layout: Layout, run: Run) -> None:
    run("claim", "--who", "ada", "--what", "restore", "--seconds", "60")
    code, answer = run("claim", "--who", "bob", "--what", "deploy", "--release", NEW)
    assert (code, answer["who"], answer["what"], answer["release"]) == (3, "ada", "restore", None)
    assert "ada has this host for a restore since" in answer["error"]
    assert "deploying" not in answer["error"]
    assert run("unclaim", "--who", "ada", "--what", "restore")[1] == {"changed": True}
    (line,) = audit.read(layout.history)
    assert (line["who"], line["what"], line["result"]) == ("ada", "restore", "done")


def test_the_claim_of_a_deploy_is_kept_as_older_releases_read_it(layout: Layout, run: Run) -> None:
    run("claim", "--who", "ada", "--what", "rollback", "--release", OLD, "--seconds", "60")
    kept = json.loads(layout.fleet_state.read_text())["claim"]
    assert sorted(kept) == ["release", "run", "since", "until", "who"]


def test_two_deploys_of_one_person_are_two(layout: Layout, run: Run) -> None:
    run("claim", "--who", "ada", "--run", "1")
    assert run("claim", "--who", "ada", "--run", "2")[0] == 3
    assert run("claim", "--who", "ada", "--run", "1")[0] == 0
    assert run("unclaim", "--who", "ada", "--run", "2")[1] == {"changed": False}


def test_a_claim_ends_by_itself(layout: Layout, run: Run) -> None:
    run("claim", "--who", "ada", "--seconds", "60")
    assert run("claim", "--who", "bob")[0] == 3
    assert run("status")[1]["claim"]["who"] == "ada"
    state = states.load(layout.fleet_state)
    assert state.claim
    state.claim.until = time.time()
    states.save(layout.fleet_state, state)
    assert run("status")[1]["claim"] is None
    assert run("claim", "--who", "bob", "--seconds", "60")[1]["taken_from"] is None


def test_a_claim_that_is_taken_over_is_lost_to_its_owner(
    host: Host, layout: Layout, processes: Processes, run: Run
) -> None:
    begin(host, processes, 2)
    run("claim", "--who", "ada", "--release", NEW, "--seconds", "60")
    assert run("roll", "--release", NEW, "--instances", "1", "--who", "ada")[0] == 0
    code, answer = run("claim", "--who", "bob", "--release", OLD, "--take-over")
    assert (code, answer["who"], answer["taken_from"]) == (0, "bob", "ada")
    code, answer = run("roll", "--release", NEW, "--instances", "2", "--who", "ada")
    assert (code, answer["who"]) == (3, "bob")
    assert run("roll", "--release", OLD, "--who", "bob")[1]["moved"] == [1]
    assert_all_on(layout, processes, OLD, 2)
    assert [line["taken_from"] for line in audit.read(layout.history) if line["command"] == "claim"] == ["ada"]


def test_each_step_holds_the_host_for_longer(host: Host, layout: Layout, processes: Processes, run: Run) -> None:
    begin(host, processes, 2)
    run("claim", "--who", "ada", "--seconds", "5")
    first = states.load(layout.fleet_state).claim
    run("roll", "--release", NEW, "--instances", "1", "--who", "ada")
    second = states.load(layout.fleet_state).claim
    assert first
    assert second
    assert second.since == first.since
    assert second.until > time.time() + 60
    # A claim again is no way to make it shorter.
    run("claim", "--who", "ada", "--seconds", "1")
    third = states.load(layout.fleet_state).claim
    assert third
    assert third.until == second.until


def test_nothing_is_remembered_as_good_before_all_run_it(
    host: Host, layout: Layout, processes: Processes, run: Run
) -> None:
    begin(host, processes, 2)
    run("roll", "--release", NEW, "--instances", "1")
    code, answer = run("finish", "--release", NEW)
    assert code == 1
    assert f"instance-2 runs release {OLD} instead of {NEW}" in answer["error"]
    assert f"hecto-fleet roll --release {NEW}" in answer["error"]
    assert states.load(layout.fleet_state).last_good == OLD


def test_the_end_removes_old_releases_and_keeps_those_to_go_back_to(
    host: Host, layout: Layout, processes: Processes, run: Run, release: Make
) -> None:
    begin(host, processes, 1)
    ids = [release(f"{number:012x}") for number in range(1, 5)]
    half = layout.release("9" * 12)
    half.mkdir()
    states.save(layout.fleet_state, State(last_good=BROKEN))
    # What would be gone back to stays, however old it is.
    assert run("activate", "--release", OLD, "--keep", "1")[1]["removed"] == [*reversed(ids[:-1]), UNREADY, NEW]
    assert not half.exists()
    assert run("finish", "--release", OLD, "--keep", "1")[1]["removed"] == []
    release(NEW)
    run("activate", "--release", NEW, "--keep", "1")
    run("roll", "--release", NEW)
    assert run("finish", "--release", NEW, "--keep", "1")[1]["removed"] == [BROKEN]
    assert {path.name for path in layout.releases.iterdir()} == {OLD, NEW}


def test_every_change_is_in_the_history(
    host: Host, layout: Layout, processes: Processes, run: Run, release: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SUDO_USER", "eve")
    run("apply", "--instances", "2", "--release", OLD)
    run("apply", "--instances", "2", "--release", OLD)
    processes.wanted = 2
    run("roll", "--release", NEW, "--who", "ada@laptop")
    run("roll", "--release", NEW)
    run("roll", "--release", OLD, "--check")
    run("roll", "--release", release("e" * 12, "check fails"))
    run("finish", "--release", NEW)
    lines = audit.read(layout.history)
    assert [(line["who"], line["command"], line["release"]) for line in lines] == [
        ("eve", "apply", OLD),
        ("ada@laptop", "roll", NEW),
        ("eve", "roll", "e" * 12),
    ]
    assert (lines[0]["started"], lines[1]["moved"], lines[1]["result"]) == ([1, 2], [1, 2], "done")
    assert lines[2]["exit_code"] == 5
    assert "fails its self check" in lines[2]["result"]
    assert all(line["seconds"] >= 0 and line["time"].endswith("Z") for line in lines)
    assert stat.S_IMODE(layout.history.stat().st_mode) == 0o640


def test_a_run_that_was_refused_leaves_a_line(layout: Layout, run: Run) -> None:
    ada = ("--who", "ada", "--run", "1", "--what", "deploy")
    run("claim", *ada, "--release", NEW)
    assert run("unclaim", "--who", "bob", "--failed", "not his")[1] == {"changed": False}
    assert audit.read(layout.history) == []
    assert run("unclaim", *ada, "--failed", "The database refuses it.\nAnd more.")[1] == {"changed": True}
    (line,) = audit.read(layout.history)
    assert (line["who"], line["what"], line["command"], line["release"]) == ("ada", "deploy", "unclaim", NEW)
    assert line["result"] == "The database refuses it."


def test_the_history_for_people_and_for_scripts(
    layout: Layout, processes: Processes, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fleet(layout, processes, "history") == 0
    assert "Nothing has changed" in capsys.readouterr().out
    audit.write(layout.history, "ada", "roll", 12.34, {"release": NEW, "result": "done"})
    # A crash cut a line short: the next one is readable all the same.
    with layout.history.open("a") as file:
        file.write('{"time": "20')
    audit.write(layout.history, "bob", "finish", 0.1, {"what": "deploy", "release": NEW, "result": "done"})
    assert fleet(layout, processes, "history") == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first.split()[1:] == ["ada", "roll", NEW, "12.3", "s", "done"]
    assert second.split()[1:] == ["bob", "deploy", "finish", NEW, "0.1", "s", "done"]
    assert fleet(layout, processes, "history", "--json", "--lines", "1") == 0
    assert json.loads(capsys.readouterr().out)["who"] == "bob"


def test_the_history_grows_no_further_than_twice_a_size(
    layout: Layout, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit, "LARGEST", 500)
    for number in range(40):
        audit.write(layout.history, "ada", "roll", number, {"result": "done"})
        run("unclaim")
    numbers = [line["seconds"] for line in audit.read(layout.history)]
    assert numbers == list(range(40 - len(numbers), 40)), "one is lost that is newer than one that is kept"
    assert 5 < len(numbers) < 15
    assert {file.name for file in layout.log.iterdir()} == {"fleet.log", "fleet.log.1"}


def test_a_history_that_cannot_be_written_stops_nothing(
    host: Host, layout: Layout, processes: Processes, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    begin(host, processes, 1)
    layout.log.write_text("a file in the place of the directory")
    assert fleet(layout, processes, "roll", "--release", NEW, *QUICKLY) == 0
    assert "cannot be written: File exists. The command itself went on." in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "is damaged"),
        ('{"format": 1, "last_go', "is damaged"),
        ("[]", "is damaged"),
        ('{"format": 1}', "is damaged"),
        (b"\xff\xfe\x00", "is damaged"),
        ({"format": "new"}, "is damaged"),
        ({"last_good": 7}, "is damaged"),
        ({"roll": {"release": "x"}}, "is damaged"),
        ({"roll": []}, "is damaged"),
        ({"claim": {"who": 1}}, "is damaged"),
        ({"format": 2}, "written by a newer hecto-fleet"),
    ],
)
def test_a_state_that_cannot_be_trusted_is_said_and_changes_nothing(
    host: Host, layout: Layout, processes: Processes, run: Run, content: object, says: str
) -> None:
    begin(host, processes, 1)
    if isinstance(content, dict):
        content = json.dumps(EMPTY | content)
    layout.fleet_state.write_bytes(content if isinstance(content, bytes) else str(content).encode())
    for words in (("roll", "--release", NEW), ("claim", "--who", "ada"), ("finish", "--release", OLD)):
        code, answer = run(*words)
        assert (code, says in answer["error"], "Nothing was done" in answer["error"]) == (4, True, True)
    assert processes.calls == []
    # To look is always possible, and says it too.
    code, answer = run("status")
    assert (code, says in answer["problem"], answer["instances"][0]["state"]) == (0, True, "ready")


def test_the_state_comes_back_as_it_was(layout: Layout) -> None:
    roll = Roll(NEW, "ada", 1.5, True, 2.5, {1: OLD, 12: None}, [1], {3: OLD}, "why")
    kept = State(OLD, BROKEN, roll, Claim("ada", "7", NEW, 1.0, 2.0))
    states.save(layout.fleet_state, kept)
    assert states.load(layout.fleet_state) == kept
    assert kept.releases == {OLD, NEW, BROKEN}
    assert roll.half_moved == [12]
    assert stat.S_IMODE(layout.fleet_state.stat().st_mode) == 0o600


def test_a_state_from_before_there_was_a_second_release_to_go_back_to(layout: Layout) -> None:
    layout.fleet_state.write_text(json.dumps({"format": 1, "last_good": OLD, "roll": None, "claim": None}))
    assert states.load(layout.fleet_state) == State(OLD)


def test_status_for_a_person_tells_of_a_deploy(
    host: Host, layout: Layout, processes: Processes, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    begin(host, processes, 2)
    run("claim", "--who", "ada", "--release", NEW, "--seconds", "60")
    run("roll", "--release", NEW, "--instances", "1", "--who", "ada")
    fleet(layout, processes, "status")
    text = capsys.readouterr().out
    assert f"Last good release: {OLD}." in text
    assert f"ada is deploying release {NEW} to this host since " in text
    assert "is under way; moved so far: 1." in text
