"""The figures of a fault: how long nobody could write, who noticed, and which promise that breaks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from tests.chaos.campaign import Phase
from tests.chaos.findings import Finding, Problem
from tests.chaos.history import Attempt, Kind, Operation, Outcome
from tests.cluster import figures
from tests.cluster.faults import Fault
from tests.cluster.figures import Row
from tests.cluster.hearing import Hearing, Wrong

PHASE = Phase("primary killed", 10.0, 60.0)


def strike(_cluster: Any) -> str:
    return "nothing"


def write(begin: float, *statuses: int) -> Operation:
    status = statuses[-1]
    outcome = Outcome.OK if 200 <= status < 300 else Outcome.UNKNOWN
    attempts = [Attempt(begin, begin + 0.1, one) for one in statuses]
    name = f"run.1.{begin:g}"
    return Operation(name, 1, Kind.CREATE, begin, begin + 0.1, outcome, status, task=1, attempts=attempts)


def row(
    operations: Sequence[Operation],
    *,
    found: Sequence[Finding] = (),
    wrong: Sequence[Wrong] = (),
    whole: float = 30.0,
    **promised: Any,
) -> Row:
    heard = Hearing([], 0, 0, list(wrong), [12.0, 70.0])
    return figures.row(Fault("primary killed", strike, **promised), PHASE, whole, operations, found, heard, usual=1.0)


STEADY = [write(float(second), 201) for second in range(100)]


def test_steady_writes_show_no_gap() -> None:
    found = row(STEADY, unseen=True, rto=30.0)
    assert found.seconds_without_writes == 0
    assert (found.requests, found.failed, found.repeated, found.resyncs) == (50, 0, 0, 1)
    assert found.broken == ()


def test_the_gap_is_the_longest_time_without_an_acknowledged_write() -> None:
    quiet = [one for one in STEADY if not 20 <= one.begin < 45]
    # Attempts in between that did not succeed are no writes.
    tried = [write(30.5, 503), write(40.5, 0)]
    found = row([*quiet, *tried], rto=24.0)
    assert found.seconds_without_writes == 25.0
    assert found.broken == ("25 s without a write instead of 24 s at most",)
    assert row(quiet, rto=25.0).broken == ()


def test_a_gap_that_goes_on_after_the_fault_counts_whole() -> None:
    assert row([one for one in STEADY if not 50 <= one.begin < 80]).seconds_without_writes == 30.0
    assert row([one for one in STEADY if one.begin < 50]).seconds_without_writes == pytest.approx(9.9)
    assert row([one for one in STEADY if one.begin < 5]).seconds_without_writes == 49.0


def test_who_gave_up_has_failed_and_who_repeated_with_success_has_not() -> None:
    operations = [*STEADY, write(20.5, 0, 503, 201), write(21.5, 502)]
    found = row(operations)
    assert (found.failed, found.repeated) == (1, 2)
    assert found.broken == ()
    assert row(operations, unseen=True).broken == ("1 failed and 2 repeated, and nobody should have noticed",)


def test_damage_belongs_to_the_fault_in_which_the_write_began() -> None:
    damage = [Finding(Problem.LOST, "run.1.20", ""), Finding(Problem.DUPLICATED, "run.1.80", "")]
    found = row(STEADY, found=damage)
    assert (found.lost, found.duplicated) == (1, 0)
    assert found.broken == ("1 lost",)


def test_lost_events_and_a_cluster_that_is_not_whole_break_the_promise() -> None:
    found = row(STEADY, wrong=[Wrong(20.0, "lost", ""), Wrong(70.0, "repeated", "")], whole=float("inf"))
    assert (found.events_lost, found.events_repeated) == (1, 0)
    assert found.broken == ("1 events lost", "not whole again")
