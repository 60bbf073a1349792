"""A checker that cannot fail proves nothing: each kind of damage, done to a good run, must be found."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from tests.chaos.checker import check
from tests.chaos.findings import Finding, Problem, figures
from tests.chaos.history import Entry, Kind, Operation, Outcome, State
from tests.chaos.truth import Line, Truth


@dataclass
class Run:
    """A run in the making: operations, and what they left in the database. Each takes one second."""

    operations: dict[str, Operation] = field(default_factory=dict)
    tasks: dict[int, State] = field(default_factory=dict)
    lines: list[Line] = field(default_factory=list)

    def add(self, name: str, kind: Kind, **values: Any) -> Operation:
        begin = float(len(self.operations) * 2)
        values = {"client": 1, "begin": begin, "end": begin + 1, "outcome": Outcome.OK, "status": 200} | values
        operation = Operation(id=f"run.{name}", kind=kind, **values)
        self.operations[name] = operation
        return operation

    def write(self, task: int, verb: str, data: dict[str, Any]) -> Line:
        line = Line(len(self.lines) + 1, task, verb, data)
        self.lines.append(line)
        return line

    def create(self, name: str, task: int, **values: Any) -> Operation:
        state = State(task, 1, f"run.{name}", "open")
        self.tasks[task] = state
        self.write(task, "created", {"title": state.title})
        return self.add(name, Kind.CREATE, task=task, states=[state], status=201, **values)

    def edit(self, name: str, task: int, status: str = "", **values: Any) -> Operation:
        old = self.tasks[task]
        new = State(task, old.version + 1, f"run.{name}", status or old.status)
        self.tasks[task] = new
        data = {"title": [old.title, new.title]} | ({"status": [old.status, status]} if status else {})
        self.write(task, "closed" if status == "done" else "changed", data)
        return self.add(name, Kind.EDIT, task=task, version=old.version, states=[new], **values)

    def comment(self, name: str, task: int) -> Operation:
        line = self.write(task, "commented", {"text": f"run.{name}"})
        return self.add(name, Kind.COMMENT, task=task, entries=[Entry(line.id, "commented", f"run.{name}")], status=201)

    def delete(self, name: str, task: int, **values: Any) -> Operation:
        version = self.tasks.pop(task).version
        self.write(task, "deleted", {})
        return self.add(name, Kind.DELETE, task=task, version=version, status=204, **values)

    def get(self, name: str, task: int, **values: Any) -> Operation:
        return self.add(name, Kind.GET, task=task, states=[self.tasks[task]], **values)

    def list(self, name: str, **values: Any) -> Operation:
        shown = [self.tasks[task] for task in sorted(self.tasks, reverse=True)]
        return self.add(name, Kind.LIST, **{"states": shown, "whole": True} | values)

    def activity(self, name: str, task: int, **values: Any) -> Operation:
        entries = [Entry(line.id, line.verb, line.token) for line in reversed(self.lines) if line.task == task]
        return self.add(name, Kind.ACTIVITY, task=task, entries=entries, whole=True, **values)

    def check(self) -> list[Finding]:
        return check(list(self.operations.values()), Truth(self.tasks, self.lines), list(self.tasks.values()))

    def forget(self, name: str) -> None:
        """Take what an operation wrote out of the histories."""
        self.lines = [line for line in self.lines if line.token != f"run.{name}"]

    def refuse(self, name: str, status: int) -> None:
        self.operations[name].outcome, self.operations[name].status = Outcome.REFUSED, status
        self.operations[name].states = []


@pytest.fixture
def run() -> Run:
    """Two tasks, one of them deleted in the end; a rival whose edit was refused; every kind of read."""
    made = Run()
    made.create("a", 1)
    made.create("b", 2, client=2)
    made.edit("a2", 1)
    made.edit("a3", 1, "done", client=2)
    current = made.tasks[1]
    made.add("late", Kind.EDIT, task=1, version=2, outcome=Outcome.REFUSED, status=409, states=[current])
    made.comment("word", 1)
    made.get("look", 1)
    made.list("all")
    made.list("mine", filtered=True, client=2)
    made.operations["mine"].states = [made.tasks[2], made.tasks[1]]
    made.activity("story", 1)
    made.delete("gone", 2)
    made.list("after")
    made.add("nothing", Kind.GET, task=2, outcome=Outcome.REFUSED, status=404)
    made.add("unknown", Kind.CREATE, outcome=Outcome.UNKNOWN, status=504)
    return made


def test_a_good_run_has_no_findings(run: Run) -> None:
    assert run.check() == []


def _lose_create(run: Run) -> None:
    run.forget("b")
    run.tasks.pop(2, None)


def _lose_comment(run: Run) -> None:
    run.forget("word")


def _lose_last_edit(run: Run) -> None:
    run.forget("a3")
    run.tasks[1] = State(1, 2, "run.a2", "open")


def _create_twice(run: Run) -> None:
    run.tasks[3] = State(3, 1, "run.a", "open")
    run.write(3, "created", {"title": "run.a"})


def _comment_twice(run: Run) -> None:
    run.write(1, "commented", {"text": "run.word"})


def _unknown_twice(run: Run) -> None:
    for task in (3, 4):
        run.tasks[task] = State(task, 1, "run.unknown", "open")
        run.write(task, "created", {"title": "run.unknown"})


def _delete_twice(run: Run) -> None:
    run.add("gone again", Kind.DELETE, task=2, version=1, status=204)


def _delete_line_twice(run: Run) -> None:
    run.write(2, "deleted", {})


def _resurrect(run: Run) -> None:
    run.tasks[2] = State(2, 1, "run.b", "open")


def _resurrect_in_a_read(run: Run) -> None:
    run.add("ghost", Kind.GET, task=2, states=[State(2, 1, "run.b", "open")])


def _write_to_the_dead(run: Run) -> None:
    run.comment("epitaph", 2)


def _fork(run: Run) -> None:
    """Two edits of version 1: the second did not see the first."""
    run.lines[3] = run.lines[3]._replace(data={"title": ["run.a", "run.a3"], "status": ["open", "done"]})


def _acknowledge_a_version_twice(run: Run) -> None:
    run.operations["a3"].states = [State(1, 2, "run.a3", "done")]


def _do_what_was_refused(run: Run) -> None:
    run.refuse("word", 409)


def _refuse_a_delete_that_was_done(run: Run) -> None:
    run.refuse("gone", 404)


def _vanish(run: Run) -> None:
    del run.tasks[1]


def _refuse_without_a_rival(run: Run) -> None:
    run.operations["late"].version = 3


def _not_found_without_a_delete(run: Run) -> None:
    run.add("missing", Kind.GET, task=1, outcome=Outcome.REFUSED, status=404)


def _phantom(run: Run) -> None:
    run.write(1, "commented", {"text": "run.nobody"})


def _no_line_of_the_change(run: Run) -> None:
    run.tasks[1] = run.tasks[1]._replace(version=4, title="run.late")


def _no_line_of_the_delete(run: Run) -> None:
    run.lines = [line for line in run.lines if line.verb != "deleted"]


def _read_what_never_was(run: Run) -> None:
    run.operations["look"].states = [State(1, 3, "run.a3", "open")]


def _read_of_another(run: Run) -> None:
    run.operations["look"].client = 3
    run.operations["look"].states = [State(1, 1, "run.a", "open")]


def _read_older_than_own(run: Run) -> None:
    run.operations["look"].client = 2
    run.operations["look"].states = [State(1, 2, "run.a2", "open")]


def _list_older(run: Run) -> None:
    run.operations["all"].states[1] = State(1, 2, "run.a2", "open")


def _list_without(run: Run) -> None:
    run.operations["all"].states.pop()


def _own_list_without(run: Run) -> None:
    run.operations["mine"].states.pop()


def _list_with_the_dead(run: Run) -> None:
    run.operations["after"].states.insert(0, State(2, 1, "run.b", "open"))


def _list_twice(run: Run) -> None:
    run.operations["all"].states *= 2


def _story_without(run: Run) -> None:
    run.operations["story"].entries.pop(0)


def _story_with_more(run: Run) -> None:
    run.operations["story"].entries.append(Entry(99, "commented", "run.late"))


DAMAGE: list[tuple[Callable[[Run], None], Problem]] = [
    (_lose_create, Problem.LOST),
    (_lose_comment, Problem.LOST),
    (_lose_last_edit, Problem.LOST),
    (_create_twice, Problem.DUPLICATED),
    (_comment_twice, Problem.DUPLICATED),
    (_unknown_twice, Problem.DUPLICATED),
    (_delete_twice, Problem.DUPLICATED),
    (_delete_line_twice, Problem.DUPLICATED),
    (_resurrect, Problem.RESURRECTED),
    (_resurrect_in_a_read, Problem.RESURRECTED),
    (_write_to_the_dead, Problem.RESURRECTED),
    (_fork, Problem.GAP),
    (_acknowledge_a_version_twice, Problem.FORKED),
    (_do_what_was_refused, Problem.REFUSED_BUT_DONE),
    (_refuse_a_delete_that_was_done, Problem.REFUSED_BUT_DONE),
    (_vanish, Problem.VANISHED),
    (_refuse_without_a_rival, Problem.NO_REASON),
    (_not_found_without_a_delete, Problem.NO_REASON),
    (_phantom, Problem.PHANTOM),
    (_no_line_of_the_change, Problem.BOOKS),
    (_no_line_of_the_delete, Problem.BOOKS),
    (_read_what_never_was, Problem.NEVER_WAS),
    (_read_of_another, Problem.STALE),
    (_read_older_than_own, Problem.STALE_OWN),
    (_list_older, Problem.STALE),
    (_list_without, Problem.STALE_OWN),
    (_own_list_without, Problem.STALE_OWN),
    (_list_with_the_dead, Problem.RESURRECTED),
    (_list_twice, Problem.NEVER_WAS),
    (_story_without, Problem.STALE_OWN),
    (_story_with_more, Problem.NEVER_WAS),
]


@pytest.mark.parametrize(("damage", "problem"), DAMAGE, ids=[damage.__name__.strip("_") for damage, _ in DAMAGE])
def test_damage_is_found(run: Run, damage: Callable[[Run], None], problem: Problem) -> None:
    damage(run)
    assert problem in {finding.problem for finding in run.check()}


def test_what_happens_side_by_side_is_no_finding(run: Run) -> None:
    """A read that began before a write was acknowledged may show the state before it, or the one after."""
    edit = run.edit("a4", 1)
    for name, states in (("old", [State(1, 3, "run.a3", "done")]), ("new", edit.states)):
        run.operations[name] = replace(run.add(name, Kind.GET, task=1, states=states), begin=edit.begin, end=edit.end)
    assert run.check() == []


def test_a_delete_of_unknown_outcome_may_have_been_done_or_not(run: Run) -> None:
    run.operations["gone"].outcome, run.operations["gone"].status = Outcome.UNKNOWN, 0
    assert run.check() == []
    run.lines = [line for line in run.lines if line.verb != "deleted"]
    run.tasks[2] = State(2, 1, "run.b", "open")
    run.operations["nothing"].outcome, run.operations["nothing"].status = Outcome.OK, 200
    run.operations["after"].states.insert(0, run.tasks[2])
    assert run.check() == []


def test_the_list_at_the_end_is_held_against_the_database(run: Run) -> None:
    truth = Truth(run.tasks, run.lines)
    found = check(list(run.operations.values()), truth, [])
    assert [finding.problem for finding in found] == [Problem.STALE]


def test_every_problem_counts_under_one_figure() -> None:
    found = [Finding(problem, "", "") for problem in Problem]
    assert figures(found) == {"lost": 3, "duplicated": 2, "wrong_answers": len(Problem) - 5}
