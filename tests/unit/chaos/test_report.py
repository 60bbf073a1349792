"""The figures: what counts as failed, in which phase, and how slow it was."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from tests.chaos import long, report
from tests.chaos.campaign import Event, Phase, Size
from tests.chaos.cores import Look
from tests.chaos.evidence import Evidence
from tests.chaos.history import Attempt, Kind, Operation, Outcome, State
from tests.chaos.report import Report
from tests.chaos.steps import BACK, MOVING, THERE
from tests.chaos.truth import Truth


def made(*attempts: Attempt, phases: list[Phase], kills: int = 0) -> Report:
    operations = [
        Operation(
            f"run.1.{number}", 1, Kind.GET, attempt.begin, attempt.end, Outcome.OK, attempt.status, task=1,
            states=[], attempts=[attempt],
        )
        for number, attempt in enumerate(attempts)
    ]  # fmt: skip
    campaign: Any = SimpleNamespace(
        seed=1,
        size=Size(),
        done={"left_out": 0},
        phases=phases,
        events=[Event(1.0, "kill", "kill -9", 0.0, kills)],
        # One of two cores is busy, a tenth of both is stolen.
        cores=SimpleNamespace(looks=[Look(float(at), 100 * at, 20 * at, 200 * at) for at in range(201)]),
    )
    evidence = Evidence(Truth({}, []), list[State](), {"retried": 2}, {"cores": "2"})
    return report.make(campaign, operations, evidence)


def test_what_fails_in_a_bounded_phase_is_counted_apart() -> None:
    phases = [Phase("quiet", 0.0, 10.0), Phase("restart of PostgreSQL", 10.0, 20.0, bounded=True)]
    found = made(Attempt(1, 2, 200), Attempt(3, 4, 502), Attempt(9.5, 11, 504), Attempt(12, 13, 0), phases=phases)
    assert found.requests["failed"] == 1
    assert found.requests["failed_where_allowed"] == 2
    assert [phase["failed"] for phase in found.phases] == [2, 1]
    assert found.requests["retried_by_nginx"] == 2


def test_answers_that_are_no_failures() -> None:
    found = made(*(Attempt(1, 2, status) for status in (200, 201, 204, 409)), phases=[])
    assert found.damage == {"failed": 0, "duplicated": 0, "lost": 0, "wrong_answers": 0}
    assert made(Attempt(1, 2, 429), phases=[]).requests["failed"] == 1


def test_percentiles() -> None:
    attempts = [Attempt(float(number), number + number / 1000, 200) for number in range(1, 101)]
    phase = made(*attempts, phases=[Phase("all", 0.0, 200.0)]).phases[0]
    assert phase["milliseconds"] == {"p50": 51.0, "p99": 100.0, "max": 100.0}


def test_how_much_of_the_cores_was_used_and_taken_away() -> None:
    phases = [Phase("one", 3.0, 9.0), Phase("too short to tell", 0.2, 0.4), Phase("after it all", 300.0, 301.0)]
    found = made(Attempt(4, 5, 200), phases=phases)
    nothing = {"busy": 0.0, "stolen": 0.0}
    assert [phase["cores"] for phase in found.phases] == [{"busy": 50.0, "stolen": 10.0}, nothing, nothing]


def test_the_verdict_names_what_was_not_kept() -> None:
    phases = [Phase("before", 0, 10), Phase(THERE + MOVING, 10, 20), Phase(BACK + MOVING, 20, 30)]
    found = made(Attempt(1, 1.01, 200), Attempt(11, 11.05, 200), Attempt(21, 21.01, 503), phases=phases, kills=60)
    verdict = {promise: kept for promise, _, kept in long.judge(found, 3, {"there": 59.0, "back": 61.0})}
    assert verdict == {
        "0 failed": "NO",
        "0 duplicated": "yes",
        "0 lost": "yes",
        "0 wrong answers": "yes",
        "at least 3 requests": "yes",
        "the load kept its rate": "NO",
        "at least 60 kill -9": "yes",
        "p99 in a roll at most 3 times that before": "NO",
        "errors of an outage end within 10 s": "yes",
        "the roll there under 60 s": "yes",
        "the roll back under 60 s": "NO",
    }


def test_both_forms_are_written(tmp_path: Path) -> None:
    found = made(Attempt(1, 2, 502, error="Bad | Gateway"), phases=[Phase("before", 0.0, 3.0)])
    found.write(tmp_path / "chaos", command="./hecto bench chaos --seed 1", verdict=[("0 failed", "1", "NO")])
    page = (tmp_path / "chaos.md").read_text()
    assert "| failed | 1 |" in page
    assert "Bad \\| Gateway" in page
    assert "| 0 failed | 1 | NO |" in page
    assert '"seed": 1' in (tmp_path / "chaos.json").read_text()
