"""Every acknowledged write is there once, every refused one not at all, every unknown one at most once."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from itertools import pairwise

from tests.chaos.findings import Finding, Problem
from tests.chaos.history import Kind, Operation, Outcome
from tests.chaos.truth import Line, Truth

VERBS = {
    Kind.CREATE: {"created"},
    Kind.EDIT: {"changed", "closed", "reopened"},
    Kind.COMMENT: {"commented"},
}


class Deletes:
    """The deletes of a run, by task."""

    def __init__(self, operations: Sequence[Operation]) -> None:
        self._by_task: defaultdict[int, list[Operation]] = defaultdict(list)
        for operation in operations:
            if operation.kind is Kind.DELETE and operation.task is not None:
                self._by_task[operation.task].append(operation)

    def acknowledged(self, task: int) -> list[Operation]:
        """Those that a client knows to be done."""
        return [operation for operation in self._by_task[task] if operation.outcome is Outcome.OK]

    def may_have_come_before(self, task: int, end: float, apart_from: str = "") -> bool:
        """Whether the task can be gone at a time, by another operation than the one that asks."""
        return any(
            operation.outcome is not Outcome.REFUSED and operation.begin < end and operation.id != apart_from
            for operation in self._by_task[task]
        )

    def refused(self, task: int) -> list[Operation]:
        """Those that were answered with a no."""
        return [operation for operation in self._by_task[task] if operation.outcome is Outcome.REFUSED]

    def over_before(self, task: int, begin: float) -> bool:
        """Whether the task was known to be gone at a time."""
        return any(operation.end <= begin for operation in self.acknowledged(task))


def check_writes(operations: Sequence[Operation], truth: Truth) -> Iterator[Finding]:
    """Hold creates, edits, comments and deletes against the database."""
    deletes = Deletes(operations)
    by_id = {operation.id: operation for operation in operations}
    for operation in operations:
        if operation.kind in VERBS:
            yield from _count(operation, truth)
            yield from _refusal(operation, truth, deletes, by_id)
            if operation.outcome is Outcome.OK and deletes.over_before(operation.task or 0, operation.begin):
                yield Finding(Problem.RESURRECTED, operation.id, f"{operation.kind} of a deleted task was acknowledged")
        elif operation.kind is Kind.DELETE:
            yield from _refusal(operation, truth, deletes, by_id)
    yield from _versions(operations)
    yield from _removals(operations, truth, deletes)
    yield from _phantoms(truth, by_id)
    for task, chain in truth.chains.items():
        yield from _book(task, chain, truth)


def _count(operation: Operation, truth: Truth) -> Iterator[Finding]:
    lines = truth.by_token.get(operation.id, [])
    what = f"{operation.kind} of task {operation.task}, {operation.outcome}: {len(lines)} lines of history"
    if len(lines) > 1:
        yield Finding(Problem.DUPLICATED, operation.id, what)
    if not lines and operation.outcome is Outcome.OK:
        yield Finding(Problem.LOST, operation.id, what)
    if lines and operation.outcome is Outcome.REFUSED:
        yield Finding(Problem.REFUSED_BUT_DONE, operation.id, f"{what}; answered {operation.status}")
    for line in lines if len(lines) == 1 else ():
        if line.verb not in VERBS[operation.kind] or operation.task not in (None, line.task):
            yield Finding(Problem.BOOKS, operation.id, f"{what}, as '{line.verb}' of task {line.task}")


def _refusal(operation: Operation, truth: Truth, deletes: Deletes, by_id: dict[str, Operation]) -> Iterator[Finding]:
    """A conflict needs a rival that made the next version; "not found" needs somebody else's delete."""
    if operation.outcome is not Outcome.REFUSED or operation.task is None:
        return
    if operation.status == 404 and not deletes.may_have_come_before(operation.task, operation.end, operation.id):
        yield Finding(Problem.NO_REASON, operation.id, f"404 for task {operation.task}, which nobody else deleted")
    if operation.status == 409:
        following = truth.states.get(operation.task, [])[operation.version or 0 :]
        rival = by_id.get(following[0].title) if following else None
        if rival is None or rival.begin > operation.end:
            detail = f"409 for version {operation.version} of task {operation.task}, and there was none after it"
            yield Finding(Problem.NO_REASON, operation.id, detail)


def _versions(operations: Sequence[Operation]) -> Iterator[Finding]:
    """No two clients were told that they made the same version."""
    made: dict[tuple[int, int], str] = {}
    for operation in operations:
        if operation.outcome is not Outcome.OK or operation.kind not in (Kind.CREATE, Kind.EDIT):
            continue
        for state in operation.states:
            expected = (operation.version or 0) + 1
            if state.version != expected or state.title != operation.id:
                detail = f"answered with version {state.version} '{state.title}' instead of {expected}"
                yield Finding(Problem.NEVER_WAS, operation.id, detail)
            first = made.setdefault((state.task, state.version), operation.id)
            if first != operation.id:
                detail = f"version {state.version} of task {state.task} was acknowledged to {first} as well"
                yield Finding(Problem.FORKED, operation.id, detail)


def _removals(operations: Sequence[Operation], truth: Truth, deletes: Deletes) -> Iterator[Finding]:
    lines = Counter(line.task for line in truth.lines if line.verb == "deleted")
    for task in {operation.task for operation in operations if operation.task is not None}:
        done = deletes.acknowledged(task)
        first = done[0].id if done else ""
        if len(done) > 1 or lines[task] > 1:
            detail = f"task {task} was deleted {len(done)} times, with {lines[task]} lines of history"
            yield Finding(Problem.DUPLICATED, first, detail)
        if task in truth.tasks and (done or lines[task]):
            yield Finding(Problem.RESURRECTED, first, f"task {task} is there and was deleted")
        if task not in truth.tasks and task in truth.chains:
            yield from _gone(task, deletes)
        if done and not lines[task]:
            yield Finding(Problem.BOOKS, first, f"no line of history tells that task {task} was deleted")


def _gone(task: int, deletes: Deletes) -> Iterator[Finding]:
    if deletes.may_have_come_before(task, float("inf")):
        return
    refused = deletes.refused(task)
    if refused:
        detail = f"task {task} is gone, though its delete was answered {refused[0].status}"
        yield Finding(Problem.REFUSED_BUT_DONE, refused[0].id, detail)
    else:
        yield Finding(Problem.VANISHED, "", f"task {task}")


def _phantoms(truth: Truth, by_id: dict[str, Operation]) -> Iterator[Finding]:
    for token, lines in truth.by_token.items():
        if token not in by_id:
            yield Finding(Problem.PHANTOM, token, f"'{lines[0].verb}' of task {lines[0].task} without an operation")
    for task in truth.tasks.keys() - truth.chains.keys():
        yield Finding(Problem.BOOKS, truth.tasks[task].title, f"task {task} has no history")


def _book(task: int, chain: list[Line], truth: Truth) -> Iterator[Finding]:
    """The history of a task leads without a gap from its creation to what it is now."""
    if [line.verb == "created" for line in chain] != [True] + [False] * (len(chain) - 1):
        yield Finding(Problem.BOOKS, chain[0].token, f"the history of task {task} does not begin with its creation")
    for before, after in pairwise(chain):
        claimed = after.data.get("title", [before.token])[0]
        if claimed != before.token:
            yield Finding(Problem.GAP, after.token, f"task {task}: a change of '{claimed}' follows '{before.token}'")
    now, last = truth.tasks.get(task), truth.states[task][-1]
    if now is not None and now != last:
        yield Finding(Problem.BOOKS, last.title, f"the history leads to {tuple(last)}, the task is {tuple(now)}")
