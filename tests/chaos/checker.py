"""Holds a history against the database and names everything that is wrong; Jepsen's idea, for tasks."""

from __future__ import annotations

from collections.abc import Sequence

from tests.chaos.findings import Finding
from tests.chaos.history import Operation, State
from tests.chaos.reads import check_end, check_reads
from tests.chaos.truth import Truth
from tests.chaos.writes import check_writes


def check(operations: Sequence[Operation], truth: Truth, listed: Sequence[State] | None = None) -> list[Finding]:
    """All that is wrong. ``listed`` is the whole list as the site showed it after the last operation."""
    found = [*check_writes(operations, truth), *check_reads(operations, truth)]
    if listed is not None:
        found += check_end(truth, listed)
    return found
