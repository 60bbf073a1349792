"""What a checker can find, and under which figure of the report each counts."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple


class Problem(StrEnum):
    """What is wrong; the value says it in words."""

    LOST = "an acknowledged write is not there"
    VANISHED = "a task is gone that nobody deleted"
    DUPLICATED = "a write was done more than once"
    FORKED = "two writes made the same version of a task"
    GAP = "a history does not lead from one version to the next"
    RESURRECTED = "a deleted task is there"
    REFUSED_BUT_DONE = "a write was refused and yet done"
    NO_REASON = "a refusal for which there was no reason"
    PHANTOM = "the database has what no operation wrote"
    BOOKS = "the history of a task and the task itself differ"
    NEVER_WAS = "a read showed a state that never was"
    STALE = "a read showed less than somebody had been acknowledged before it began"
    STALE_OWN = "a read showed less than this client had been acknowledged before"


class Finding(NamedTuple):
    """One thing that is wrong, and what shows it."""

    problem: Problem
    operation: str
    detail: str


# Every problem counts once: lost, done twice, or answered wrongly.
# A gap is an edit over one that it had not seen: that one is lost to whoever looks at the task.
LOST = frozenset({Problem.LOST, Problem.VANISHED, Problem.GAP})
DUPLICATED = frozenset({Problem.DUPLICATED, Problem.FORKED})


def figures(found: list[Finding]) -> dict[str, int]:
    """The three figures that must be 0."""
    lost = sum(finding.problem in LOST for finding in found)
    duplicated = sum(finding.problem in DUPLICATED for finding in found)
    return {"lost": lost, "duplicated": duplicated, "wrong_answers": len(found) - lost - duplicated}
