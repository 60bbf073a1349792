"""What each fault cost, and whether that is what was promised."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from statistics import median
from typing import TYPE_CHECKING, Any

from tests.chaos import findings
from tests.chaos.findings import Finding
from tests.chaos.history import WRITES, Operation, Outcome
from tests.chaos.report import ANSWERS
from tests.cluster.faults import Fault
from tests.cluster.hearing import Hearing

if TYPE_CHECKING:
    from tests.chaos.campaign import Phase


@dataclass(frozen=True)
class Row:
    """The figures of one fault."""

    fault: str
    requests: int
    # Operations that ended without an answer, for the client that had to give up.
    failed: int
    # Requests that got no answer and that the client, which has a key for it, sent again with success.
    repeated: int
    seconds_without_writes: float
    seconds_until_whole: float
    lost: int
    duplicated: int
    wrong_answers: int
    events: int
    events_lost: int
    events_repeated: int
    events_reordered: int
    resyncs: int
    broken: tuple[str, ...] = ()

    def values(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def rows(
    phases: Sequence[Phase],
    faults: Sequence[tuple[Fault, str, float]],
    operations: Sequence[Operation],
    found: Sequence[Finding],
    heard: Hearing,
) -> list[Row]:
    """One for each fault."""
    usual = median_gap(operations)
    by_name = {phase.name: phase for phase in phases}
    return [row(fault, by_name[name], whole, operations, found, heard, usual) for fault, name, whole in faults]


def row(
    fault: Fault,
    phase: Phase,
    whole: float,
    operations: Sequence[Operation],
    found: Sequence[Finding],
    heard: Hearing,
    usual: float = 0.0,
) -> Row:
    """The figures of what happened in a phase."""
    inside = [one for one in operations if phase.begin <= one.begin < phase.end]
    names = {one.id for one in inside}
    damage = findings.figures([one for one in found if one.operation in names])
    failed = sum(one.status not in ANSWERS for one in inside)
    repeated = sum(len(one.attempts) - 1 for one in inside if one.status in ANSWERS)
    events = heard.figures(phase.begin, phase.end)
    gap = round(max(0.0, longest_gap(operations, phase.begin, phase.end) - usual), 1)
    return Row(
        phase.name,
        sum(len(one.attempts) for one in inside),
        failed,
        repeated,
        gap,
        whole,
        damage["lost"],
        damage["duplicated"],
        damage["wrong_answers"],
        events["sent"],
        events["lost"],
        events["repeated"],
        events["reordered"],
        events["resyncs"],
        tuple(broken(fault, damage, failed, repeated, gap, whole, events)),
    )


def broken(
    fault: Fault,
    damage: dict[str, int],
    failed: int,
    repeated: int,
    gap: float,
    whole: float,
    events: dict[str, int],
) -> list[str]:
    """The promises that were not kept."""
    found = [f"{count} {name.replace('_', ' ')}" for name, count in damage.items() if count]
    found += [f"{events[name]} events {name}" for name in ("lost", "repeated", "reordered") if events[name]]
    if fault.unseen and (failed or repeated):
        found.append(f"{failed} failed and {repeated} repeated, and nobody should have noticed")
    if fault.rto and gap > fault.rto:
        found.append(f"{gap:g} s without a write instead of {fault.rto:g} s at most")
    if whole == float("inf"):
        found.append("not whole again")
    return found


def _acknowledged(operations: Sequence[Operation]) -> list[float]:
    return sorted(one.end for one in operations if one.kind in WRITES and one.outcome is Outcome.OK)


def longest_gap(operations: Sequence[Operation], begin: float, end: float) -> float:
    """The longest time in which no write was acknowledged: of the gaps that touch this time."""
    ends = _acknowledged(operations)
    touching = [later - max(begin, earlier) for earlier, later in pairwise(ends) if earlier < end and later > begin]
    if not ends or ends[-1] < begin:
        return end - begin
    # The last write of the run may be inside, and nothing after it.
    return max([*touching, end - ends[-1]])


def median_gap(operations: Sequence[Operation]) -> float:
    """The usual time between two acknowledged writes."""
    gaps = [later - earlier for earlier, later in pairwise(_acknowledged(operations))]
    return median(gaps) if gaps else 0.0
