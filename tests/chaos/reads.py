"""Every answer was true at some moment between the question and the answer, and no older than what was known before."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterator, Sequence

from tests.chaos.findings import Finding, Problem
from tests.chaos.history import Kind, Operation, Outcome, State
from tests.chaos.truth import Truth
from tests.chaos.writes import Deletes


class Acknowledged:
    """Since when which version of which task was known to somebody."""

    def __init__(self, operations: Sequence[Operation], truth: Truth) -> None:
        self.truth = truth
        self.writer = {operation.id: operation for operation in operations}
        self._floors: defaultdict[int, tuple[list[float], list[int]]] = defaultdict(lambda: ([], []))
        done = (o for o in operations if o.outcome is Outcome.OK and o.kind in (Kind.CREATE, Kind.EDIT) and o.states)
        for operation in sorted(done, key=lambda o: o.end):
            ends, versions = self._floors[operation.states[0].task]
            ends.append(operation.end)
            versions.append(max(operation.states[0].version, versions[-1] if versions else 0))

    def floor(self, task: int, begin: float) -> int:
        """The newest version that somebody had been told of at a time; 0 when nobody knew the task."""
        ends, versions = self._floors[task]
        place = bisect_right(ends, begin)
        return versions[place - 1] if place else 0

    def whose(self, state: State) -> int:
        """The client that wrote a state."""
        return self.writer[state.title].client if state.title in self.writer else -1

    def unsettled(self, task: int, floor: int, end: float) -> bool:
        """Whether a version after this one may have been there before a time."""
        later = self.truth.states.get(task, [])[floor:]
        return any(state.title not in self.writer or self.writer[state.title].begin < end for state in later)


# A task with the times between which it came to be.
Place = tuple[int, float, float]


class Reads:
    """Checks one read after another."""

    def __init__(self, operations: Sequence[Operation], truth: Truth) -> None:
        self._truth = truth
        self._acknowledged = Acknowledged(operations, truth)
        self._deletes = Deletes(operations)
        self._states = truth.states
        self._run = next((o.id.partition(".")[0] + "." for o in operations), "")
        created = [o for o in operations if o.kind is Kind.CREATE and o.outcome is Outcome.OK and o.states]
        self._created = sorted((o.states[0].task, o.begin, o.end) for o in created)
        places = {task: (task, begun, ended) for task, begun, ended in self._created}
        touched: defaultdict[int, set[Place]] = defaultdict(set)
        for operation in operations:
            if operation.kind in (Kind.CREATE, Kind.EDIT) and operation.task in places:
                touched[operation.client].add(places[operation.task])
        self._touched = {client: sorted(found) for client, found in touched.items()}
        self._lines: defaultdict[int, list[tuple[int, Operation]]] = defaultdict(list)
        by_id = self._acknowledged.writer
        for line in truth.lines:
            writer = by_id.get(line.token)
            if writer and writer.outcome is Outcome.OK and line.verb != "deleted":
                self._lines[line.task].append((line.id, writer))

    def check(self, operation: Operation) -> Iterator[Finding]:
        """What is wrong with the answer of one operation."""
        for state in operation.states:
            if state.title.startswith(self._run):
                yield from self._state(operation, state)
        if operation.kind is Kind.LIST and operation.outcome is Outcome.OK:
            yield from self._list(operation)
        if operation.kind is Kind.ACTIVITY and operation.outcome is Outcome.OK:
            yield from self._activity(operation)
        if operation.kind in (Kind.GET, Kind.ACTIVITY) and operation.status == 404:
            assert operation.task is not None
            if not self._deletes.may_have_come_before(operation.task, operation.end):
                yield Finding(Problem.NO_REASON, operation.id, f"404 for task {operation.task}, which nobody deleted")

    def _state(self, operation: Operation, shown: State) -> Iterator[Finding]:
        known = self._states.get(shown.task, [])
        if not (0 < shown.version <= len(known)) or known[shown.version - 1] != shown:
            yield Finding(Problem.NEVER_WAS, operation.id, f"{tuple(shown)}")
            return
        floor = self._acknowledged.floor(shown.task, operation.begin)
        if shown.version < floor:
            own = self._acknowledged.whose(known[floor - 1]) == operation.client
            detail = f"{operation.kind} showed version {shown.version} of task {shown.task}, {floor} was acknowledged"
            yield Finding(Problem.STALE_OWN if own else Problem.STALE, operation.id, detail)
        if self._deletes.over_before(shown.task, operation.begin):
            yield Finding(
                Problem.RESURRECTED, operation.id, f"{operation.kind} showed task {shown.task}, deleted before"
            )

    def _list(self, operation: Operation) -> Iterator[Finding]:
        """A page, newest first: what was there before and belongs between its ends must be on it."""
        shown = {state.task for state in operation.states}
        if len(shown) < len(operation.states):
            yield Finding(Problem.NEVER_WAS, operation.id, "a list showed a task twice")
        lowest = 0 if operation.whole else min(shown, default=0)
        candidates = self._touched.get(operation.client, []) if operation.filtered else self._created
        for task, begun, ended in candidates[bisect_left(candidates, (lowest, 0.0, 0.0)) :]:
            if begun > operation.end:
                break  # ids rise: whatever follows was made after this read
            if task in shown or ended > operation.begin:
                continue
            if self._deletes.may_have_come_before(task, operation.end):
                continue
            if not operation.filtered or self._belongs(operation, task):
                detail = f"task {task} is not on the page, which goes down to {lowest}"
                own = any(place[0] == task for place in self._touched.get(operation.client, []))
                yield Finding(Problem.STALE_OWN if own else Problem.STALE, operation.id, detail)

    def _belongs(self, operation: Operation, task: int) -> bool:
        """Whether a list of a client's own writes had to show a task, whatever happened at the same time."""
        floor = self._acknowledged.floor(task, operation.begin)
        if not floor or len(self._states.get(task, ())) < floor:
            return False
        own = self._acknowledged.whose(self._states[task][floor - 1]) == operation.client
        return own and not self._acknowledged.unsettled(task, floor, operation.end)

    def _activity(self, operation: Operation) -> Iterator[Finding]:
        assert operation.task is not None
        shown = {entry.line for entry in operation.entries}
        for entry in operation.entries:
            lines = self._truth.by_token.get(entry.token, [])
            if entry.verb != "deleted" and all(line.id != entry.line for line in lines):
                yield Finding(Problem.NEVER_WAS, operation.id, f"a line of history that is not there: {tuple(entry)}")
        lowest = 0 if operation.whole else min(shown, default=0)
        for line, writer in self._lines[operation.task]:
            if line >= lowest and line not in shown and writer.end <= operation.begin:
                own = writer.client == operation.client
                detail = f"line {line} ({writer.id}) of task {operation.task} is not shown"
                yield Finding(Problem.STALE_OWN if own else Problem.STALE, operation.id, detail)


def check_reads(operations: Sequence[Operation], truth: Truth) -> Iterator[Finding]:
    """Hold every answer against the history of what was read."""
    reads = Reads(operations, truth)
    for operation in operations:
        yield from reads.check(operation)


def check_end(truth: Truth, listed: Sequence[State]) -> Iterator[Finding]:
    """The list, read to its end when all is quiet, says what the database says."""
    shown = {state.task: state for state in listed}
    if len(shown) < len(listed):
        yield Finding(Problem.NEVER_WAS, "", f"the whole list shows {len(listed) - len(shown)} tasks twice")
    for task in truth.tasks.keys() | shown.keys():
        if truth.tasks.get(task) != shown.get(task):
            detail = f"the list at the end has {shown.get(task)}, the database {truth.tasks.get(task)}"
            yield Finding(Problem.STALE, "", detail)
