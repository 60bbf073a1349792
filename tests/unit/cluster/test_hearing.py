"""Each kind of damage, done to what listeners heard, must be found; and what a client was told of must not count."""

from __future__ import annotations

from typing import Any

from tests.chaos.history import Kind, Operation, Outcome, State
from tests.cluster.hearing import CREATED, DELETED, UPDATED, Hearing, check, parse


def write(number: int, kind: Kind, task: int, version: int | None = None, **values: Any) -> Operation:
    name = f"run.1.{number}"
    states = [State(task, 1, name, "open")] if kind is Kind.CREATE else []
    values = {"outcome": Outcome.OK, "status": 200} | values
    return Operation(name, 1, kind, float(number), number + 0.5, task=task, version=version, states=states, **values)


OPERATIONS = [
    write(10, Kind.CREATE, 1),
    write(20, Kind.EDIT, 1, 1),
    write(30, Kind.COMMENT, 1),
    write(40, Kind.CREATE, 2),
    write(50, Kind.DELETE, 2, 1),
]
# What every listener hears of them: what, event, task, version, title, offset.
EVENTS: list[list[Any]] = [
    [10.6, CREATED, 101, 1, 1, "run.1.10", "e-1"],
    [20.6, UPDATED, 102, 1, 2, "run.1.20", "e-2"],
    [30.6, UPDATED, 103, 1, 2, "run.1.20", "e-3"],
    [40.6, CREATED, 104, 2, 1, "run.1.40", "e-4"],
    [50.6, DELETED, 105, 2, 1, "run.1.40", "e-5"],
]


def lines(listener: int, *events: list[Any]) -> list[list[Any]]:
    return [[listener, 1.0, "connect", False], *([listener, *event] for event in events)]


def heard(*events: list[Any], operations: list[Operation] = OPERATIONS, others: list[list[Any]] = EVENTS) -> Hearing:
    """What comes of it when one listener heard these, and another one all of them."""
    return check(operations, parse(lines(0, *others) + lines(1, *events)), "run")


def wrong(found: Hearing) -> list[str]:
    return [one.what for one in found.wrong]


def test_who_heard_everything_lacks_nothing() -> None:
    found = heard(*EVENTS)
    assert found.wrong == []
    assert found.figures(0, 100) == {"sent": 5, "lost": 0, "repeated": 0, "reordered": 0, "resyncs": 0}
    assert found.figures(15, 35)["sent"] == 2


def test_an_event_that_one_did_not_hear_is_lost() -> None:
    for number in range(len(EVENTS)):
        found = heard(*EVENTS[:number], *EVENTS[number + 1 :])
        assert wrong(found) == ["lost"], EVENTS[number]
        at = EVENTS[number][0]
        assert found.figures(at - 1, at + 1)["lost"] == 1


def test_who_was_told_at_that_place_has_lost_nothing() -> None:
    for word in (["connect", False], ["missed"]):
        found = heard(*EVENTS[:2], [33.0, *word], *EVENTS[3:])
        assert found.wrong == []
        assert found.figures(0, 100)["resyncs"] == 1


def test_a_word_at_another_place_excuses_nothing() -> None:
    assert wrong(heard(*EVENTS[:2], EVENTS[3], [45.0, "missed"], EVENTS[4])) == ["lost"]
    # It came before the event: what was read then cannot have shown it.
    assert wrong(heard(*EVENTS[:2], [25.0, "missed"], *EVENTS[3:])) == ["lost"]
    # A session that was taken up is a promise that nothing is lacking.
    assert wrong(heard(*EVENTS[:2], [33.0, "connect", True], *EVENTS[3:])) == ["lost"]


def test_the_first_connect_is_no_word() -> None:
    assert wrong(heard(*EVENTS[1:])) == ["lost"]


def test_the_same_place_twice_is_a_repeat_and_the_same_fact_at_two_places_is_allowed() -> None:
    assert wrong(heard(*EVENTS[:3], EVENTS[2], *EVENTS[3:])) == ["repeated"]
    again = [*EVENTS[2][:-1], "e-6"]
    found = heard(*EVENTS, again)
    assert found.wrong == []
    assert found.told_twice == 1


def test_another_order_is_found() -> None:
    assert wrong(heard(EVENTS[0], EVENTS[2], EVENTS[1], *EVENTS[3:])) == ["reordered"]


def test_of_one_document_an_older_fact_does_not_follow_a_newer_one() -> None:
    early = [*EVENTS[1][:-1], "e-7"]
    events = [EVENTS[0], EVENTS[2], *EVENTS[3:], early]
    found = check(OPERATIONS, parse(lines(0, *events)), "run")
    assert wrong(found) == ["reordered"]


def test_after_a_new_epoch_numbers_begin_anew() -> None:
    late = [[*EVENTS[3][:-1], "f-1"], [*EVENTS[4][:-1], "f-2"]]
    events = [*EVENTS[:3], [35.0, "missed"], *late]
    assert heard(*events, others=events).wrong == []


def test_an_acknowledged_write_of_which_nobody_heard_is_lost_to_everybody() -> None:
    for number, event in enumerate(EVENTS):
        rest = EVENTS[:number] + EVENTS[number + 1 :]
        found = heard(*rest, others=rest)
        assert wrong(found) == ["lost", "lost"], event
    told = [*EVENTS[:4], [55.0, "missed"]]
    assert wrong(heard(*told, others=EVENTS[:4])) == ["lost"]
    assert heard(*told, others=told).wrong == []


def test_of_comments_on_a_task_any_may_be_the_one_that_nobody_heard() -> None:
    operations = [*OPERATIONS, write(300, Kind.COMMENT, 1)]
    late = [300.6, UPDATED, 106, 1, 2, "run.1.20", "e-6"]
    told = [*EVENTS[:2], [33.0, "missed"], *EVENTS[3:], late]
    assert heard(*told, operations=operations, others=told).wrong == []
    # One word does not excuse two of them.
    assert wrong(heard(*told[:-1], operations=operations, others=told[:-1])) == ["lost", "lost"]


def test_a_comment_does_not_stand_for_the_edit_before_it() -> None:
    """The edit's event was lost while everybody was told to read again; the comment, much later, is of its version."""
    operations = [OPERATIONS[0], OPERATIONS[1], write(300, Kind.COMMENT, 1, 2)]
    events = [EVENTS[0], [22.0, "missed"], [300.6, UPDATED, 103, 1, 2, "run.1.20", "e-3"]]
    assert heard(*events, operations=operations, others=events).wrong == []
    silent = [EVENTS[0], events[2]]
    assert wrong(heard(*silent, operations=operations, others=silent)) == ["lost", "lost"]


def test_an_event_was_told_no_later_than_what_came_after_it() -> None:
    # The first is frozen and hears the rest late, the second misses one event by a new connection, the third two.
    late = [[58.0 + number, *event[1:]] for number, event in enumerate(EVENTS[2:])]
    second = [*EVENTS[:2], [33.0, "missed"], *EVENTS[3:]]
    third = [*EVENTS[:2], [43.0, "missed"], EVENTS[4]]
    heard_by = [*lines(0, *EVENTS[:2], *late), *lines(1, *second), *lines(2, *third)]
    found = check(OPERATIONS, parse(heard_by), "run")
    # Of the one that nobody else heard it is not known whether it had been told at 33.
    assert [(one.what, "listener 1" in one.detail) for one in found.wrong] == [("lost", True)]


def test_what_was_not_acknowledged_may_be_heard_or_not() -> None:
    unknown = write(60, Kind.CREATE, 3, outcome=Outcome.UNKNOWN, status=0)
    assert heard(*EVENTS, operations=[*OPERATIONS, unknown]).wrong == []


def test_what_others_do_on_the_site_does_not_count() -> None:
    strange = [15.0, CREATED, 900, 77, 1, "Sweep the yard", "e-0"]
    assert heard(*EVENTS, others=[strange, *EVENTS]).wrong == []


def test_an_event_without_an_offset_stands_where_others_heard_it() -> None:
    bare = [[*event[:-1], None] for event in EVENTS]
    assert heard(*EVENTS[:2], *bare[2:]).wrong == []
    assert wrong(heard(*EVENTS[:2], *bare[3:])) == ["lost"]
    assert wrong(heard(*EVENTS[:2], bare[3], bare[2], bare[4])) == ["reordered"]
    # Where nobody knows, it stands behind what came before.
    unplaced = [*EVENTS[:2], *bare[2:]]
    assert heard(*unplaced, others=unplaced).wrong == []
