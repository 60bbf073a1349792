"""Plans: which instances, in what batches, for fleets of any size."""

import pytest

from hecto.fleet.errors import UsageError
from hecto.fleet.plan import Order, batch_size, batches, chosen, due, is_started, record
from hecto.fleet.snapshot import Instance
from hecto.fleet.state import Roll
from tests.unit.fleet.conftest import NEW, OLD

ORDER = Order(NEW, "ada")


def instance(number: int, release: str | None = OLD, state: str = "ready", **more: object) -> Instance:
    fields: dict[str, object] = {
        "number": number,
        "name": f"instance-{number}",
        "state": state,
        "release": release,
        "pin": release,
        "uptime": 1.0,
        "in_flight": 0,
        "websockets": 0,
        "memory": None,
        "restarts": 0,
        "pid": 1,
        "started": 100.0,
        "wanted": True,
        "roll_due": [] if release == NEW else ["release"],
    }
    return Instance(**fields | more)  # type: ignore[arg-type]


def roll(**more: object) -> Roll:
    return Roll(NEW, "ada", since=50.0, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("fleet", "sizes"),
    [
        (1, [1]),
        (2, [1, 1]),
        (4, [1] * 4),
        (12, [1] * 12),
        (25, [1, *[2] * 12]),
        (100, [1, *[10] * 9, 9]),
        (431, [1, *[43] * 10]),
    ],
)
def test_a_canary_then_a_tenth_at_a_time(fleet: int, sizes: list[int]) -> None:
    planned = batches(range(1, fleet + 1), batch_size(fleet), canary=True)
    assert [len(batch) for batch in planned] == sizes
    assert [number for batch in planned for number in batch] == list(range(1, fleet + 1))


def test_smaller_batches_are_possible_and_larger_ones_are_not() -> None:
    assert batch_size(100, 4) == 4
    assert batch_size(5, 1) == 1
    for fleet, wish in ((100, 11), (12, 2), (100, 0), (100, -1)):
        with pytest.raises(UsageError, match="at least 1 and at most"):
            batch_size(fleet, wish)


@pytest.mark.parametrize(
    ("one", "is_due"),
    [
        (instance(1), True),
        (instance(1, NEW), False),
        (instance(1, NEW, roll_due=["secret secret-key"]), True),
        # A crash would bring it back on another release.
        (instance(1, NEW, pin=OLD), True),
        (instance(1, NEW, wanted=False, roll_due=["unit"]), False),
        (instance(1, NEW, state="starting"), False),
        *((instance(1, NEW, state=s), True) for s in ("held", "draining", "stopped", "failed", "crashing", "hung")),
    ],
)
def test_what_is_due(one: Instance, is_due: bool) -> None:
    assert bool(due([one], ORDER, roll())) is is_due


def test_all_means_all_that_were_not_started_since() -> None:
    every = Order(NEW, "ada", every=True)
    fleet = [instance(1, NEW, started=10.0), instance(2, NEW, started=60.0), instance(3, NEW, started=10.0)]
    assert due(fleet, every, roll(every=True)) == [1, 3]
    assert due(fleet, every, roll(every=True, origin={3: NEW}, done=[3])) == [1]


def test_half_moved_ones_come_first_and_whatever_they_look_like() -> None:
    fleet = [instance(1), instance(2), instance(3, NEW, state="starting")]
    assert due(fleet, ORDER, roll(origin={1: OLD, 3: OLD}, done=[])) == [1, 3, 2]
    assert due(fleet, ORDER, roll(origin={3: OLD}, done=[])) == [3, 1, 2]


@pytest.mark.parametrize(
    ("one", "is_up"),
    [
        (instance(1, NEW, "held"), True),
        (instance(1, NEW, "ready"), True),
        (instance(1, NEW, "starting"), False),
        (instance(1, NEW, "draining"), False),
        (instance(1, OLD, "held"), False),
        (instance(1, NEW, "ready", pin=OLD), False),
        (instance(1, NEW, "ready", roll_due=["unit"]), False),
        # It runs from before this roll: for one that restarts all, nothing is done yet.
        (instance(1, NEW, "ready", started=10.0), False),
    ],
)
def test_what_needs_no_second_start(one: Instance, is_up: bool) -> None:
    assert is_started(one, ORDER, roll(origin={1: OLD})) is is_up
    assert not is_started(one, ORDER, roll(origin={1: OLD}, done=[1]))


def test_the_same_goal_goes_on_and_another_begins_anew() -> None:
    before = roll(origin={1: OLD, 2: OLD}, done=[1])
    assert record(before, ORDER, 70.0) is before
    other = record(before, Order("e" * 12, "bob"), 70.0)
    # What ran before the roll that is given up is what these go back to.
    assert (other.since, other.origin, other.carried) == (70.0, {}, {1: OLD, 2: OLD})
    third = record(other, Order(OLD, "bob"), 80.0)
    assert third.carried == {}
    # What was half-moved never served on that release.
    assert record(before, Order(OLD, "bob"), 80.0).carried == {2: OLD}
    assert record(None, ORDER, 70.0).carried == {}
    assert record(before, Order(NEW, "ada", every=True), 70.0) is not before


def test_a_batch_of_a_playbook() -> None:
    fleet = [instance(1, NEW), instance(2), instance(3)]
    assert chosen(fleet, Order(NEW, "ada", only=[1, 2]), [2, 3]) == [2]
    with pytest.raises(UsageError, match="no instances 7-8"):
        chosen(fleet, Order(NEW, "ada", only=[7, 2, 8]), [2, 3])
