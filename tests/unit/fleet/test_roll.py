"""Rolling: a canary, then a tenth of the fleet at a time, and back when the new release does not work out."""

import pkgutil
import signal
import time

import pytest

from hecto.fleet import claim as claims
from hecto.fleet import state as states_of_host
from hecto.fleet.errors import FleetError, LockedError, NeedsAPersonError, NotReadyError, ReturnedError, UsageError
from hecto.fleet.layout import Layout
from hecto.fleet.roll import Order, Rolled, batches, roll
from hecto.fleet.wait import Patience
from tests.unit.fleet.conftest import BROKEN, FAULTY, NEW, OLD, PLAIN, QUICK, STUCK, UNCHECKED, UNREADY
from tests.unit.fleet.processes import Processes
from tests.unit.fleet.test_apply import make_busy, scale, states


def move(layout: Layout, processes: Processes, release: str, *, check: bool = False, **order: object) -> Rolled:
    processes.wanted = max(processes.wanted, len(processes.units().by_number))
    wanted = Order(release, "ada", **order)  # type: ignore[arg-type]
    return roll(layout, processes, wanted, patience=QUICK, say=lambda _: None, check=check)


def moves(processes: Processes) -> list[list[int]]:
    """Which instances were started together, in order."""
    return [numbers for verb, numbers in processes.calls if verb == "start"]


@pytest.mark.parametrize(
    ("fleet", "sizes"),
    [
        (1, [1]),
        (2, [1, 1]),
        (4, [1] * 4),
        (12, [1] * 12),
        (25, [1] + [2] * 12),
        (100, [1] + [10] * 9 + [9]),
    ],
)
def test_a_canary_goes_first_and_then_at_most_a_tenth_of_the_fleet(fleet: int, sizes: list[int]) -> None:
    planned = batches(range(1, fleet + 1), fleet, canary=True)
    assert [len(batch) for batch in planned] == sizes
    assert sorted(number for batch in planned for number in batch) == list(range(1, fleet + 1))


def test_a_roll_moves_one_after_another(layout: Layout, processes: Processes) -> None:
    scale(layout, processes, 3)
    processes.calls.clear()
    assert move(layout, processes, NEW).moved == [1, 2, 3]
    assert states(layout, processes) == dict.fromkeys((1, 2, 3), ("ready", NEW))
    assert processes.calls == [(verb, [n]) for n in (1, 2, 3) for verb in ("stop", "start")]
    after = states_of_host.load(layout.fleet_state)
    assert (after.last_good, after.roll) == (NEW, None)
    assert not list(layout.run.glob("control/*.hold"))


def test_a_second_roll_has_nothing_to_do_unless_all_are_meant(layout: Layout, processes: Processes) -> None:
    scale(layout, processes, 2)
    assert not move(layout, processes, OLD).as_json()["changed"]
    assert move(layout, processes, OLD, every=True).moved == [1, 2]
    assert move(layout, processes, OLD, every=True).moved == [1, 2]


def test_check_says_which_in_what_batches(layout: Layout, processes: Processes) -> None:
    scale(layout, processes, 2)
    processes.calls.clear()
    planned = move(layout, processes, NEW, check=True)
    assert (planned.batches, planned.moved, planned.as_json()["changed"]) == ([[1], [2]], [], True)
    assert processes.calls == []
    assert not layout.fleet_state.exists()


def test_batch_by_batch_is_one_roll(layout: Layout, processes: Processes) -> None:
    scale(layout, processes, 3)
    for number in (1, 2, 3):
        assert move(layout, processes, NEW, only=[number]).moved == [number]
    record = states_of_host.load(layout.fleet_state).roll
    assert record is not None
    assert (record.done, record.origin) == ([1, 2, 3], dict.fromkeys((1, 2, 3), OLD))
    assert move(layout, processes, NEW, only=[2]).moved == []
    with pytest.raises(UsageError, match="There is no instance-9 on this host"):
        move(layout, processes, NEW, only=[9])


@pytest.mark.parametrize(
    ("broken", "says"),
    [
        (BROKEN, "instance-1 (ended|control socket)"),
        (UNREADY, "instance-1 is starting"),
        (UNCHECKED, "instance-1 does not work here: GET /tasks: 500"),
        (FAULTY, r"instance-1 answered \d+ of \d+ requests with an error"),
    ],
)
def test_a_broken_release_stops_at_the_canary_and_is_taken_back(
    layout: Layout, processes: Processes, broken: str, says: str
) -> None:
    scale(layout, processes, 3)
    processes.calls.clear()
    with pytest.raises(ReturnedError, match=f"(?s)On release {broken} {says}.*Everything is back"):
        move(layout, processes, broken)
    assert moves(processes) == [[1], [1]]
    assert states(layout, processes) == dict.fromkeys((1, 2, 3), ("ready", OLD))
    assert layout.pinned() == dict.fromkeys((1, 2, 3), OLD)
    assert states_of_host.load(layout.fleet_state).roll is None
    assert not list(layout.run.glob("control/*.hold"))


def test_what_fails_later_takes_back_all_that_this_roll_moved(layout: Layout, processes: Processes) -> None:
    scale(layout, processes, 3)
    move(layout, processes, NEW, only=[1])
    move(layout, processes, NEW, only=[2])
    (layout.release(NEW) / "release.json").write_text(f'{{"id": "{NEW}", "behaviour": "fails its check"}}')
    with pytest.raises(ReturnedError):
        move(layout, processes, NEW, only=[3])
    assert states(layout, processes) == dict.fromkeys((1, 2, 3), ("ready", OLD))


def test_where_going_back_fails_as_well_a_person_is_asked_for(layout: Layout, processes: Processes) -> None:
    scale(layout, processes, 2)
    (layout.release(OLD) / "release.json").write_text(f'{{"id": "{OLD}", "behaviour": "never ready"}}')
    with pytest.raises(NeedsAPersonError, match="Going back, instance-1 is starting"):
        move(layout, processes, UNCHECKED)
    assert states(layout, processes)[2] == ("ready", OLD)


def test_a_restart_that_fails_has_nowhere_to_go_back_to(layout: Layout, processes: Processes) -> None:
    scale(layout, processes, 2)
    (layout.release(OLD) / "release.json").write_text(f'{{"id": "{OLD}", "behaviour": "fails its check"}}')
    with pytest.raises(NotReadyError, match="no other release"):
        move(layout, processes, OLD, every=True)
    assert states(layout, processes)[2] == ("ready", OLD)


def test_a_release_without_a_check_and_without_counts_is_taken_as_it_is(layout: Layout, processes: Processes) -> None:
    scale(layout, processes, 2)
    assert move(layout, processes, PLAIN).moved == [1, 2]
    assert move(layout, processes, NEW).moved == [1, 2]


def test_a_drain_that_does_not_end_is_cut_off_in_time(layout: Layout, processes: Processes) -> None:
    scale(layout, processes, 1, STUCK)
    begun = time.monotonic()
    assert move(layout, processes, NEW).moved == [1]
    assert time.monotonic() - begun < 5


def test_websockets_are_waited_for_a_shorter_time(layout: Layout, processes: Processes) -> None:
    scale(layout, processes, 1)
    make_busy(layout, 1, "websockets", 3)
    assert move(layout, processes, NEW).moved == [1]


class Killed(BaseException):
    """In place of SIGKILL: nothing catches it, and what is on the disk is all that is left of the run."""


class Killer:
    """Ends a run at its nth step, before or after the step was done."""

    def __init__(self, at: int, before: bool) -> None:
        self.at, self.before, self.steps = at, before, 0

    def step(self, do):  # type: ignore[no-untyped-def]
        def killed(*arguments, **options):  # type: ignore[no-untyped-def]
            self.steps += 1
            if self.steps == self.at and self.before:
                raise Killed
            done = do(*arguments, **options)
            if self.steps == self.at and not self.before:
                raise Killed
            return done

        return killed


STEPS = (
    "hecto.fleet.state.save",
    "hecto.fleet.move.drain",
    "hecto.fleet.layout.Layout.pin",
    "hecto.fleet.move.check_all",
    "hecto.fleet.move.admit",
    "hecto.fleet.wait.until_ready",
)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("before", [True, False])
def test_a_roller_that_is_killed_at_any_step_is_resumed_by_the_same_command(
    layout: Layout, processes: Processes, monkeypatch: pytest.MonkeyPatch, before: bool
) -> None:
    quick = Patience(ready=5, drain=0.2, websockets=0.1, watch=0.05)
    scale(layout, processes, 2)
    processes.wanted = 2
    goal, at, kills = NEW, 0, 0
    while True:
        at += 1
        killer = Killer(at, before)
        back = OLD if goal == NEW else NEW
        with monkeypatch.context() as patched:
            for name in STEPS:
                module, _, attribute = name.rpartition(".")
                patched.setattr(name, killer.step(resolve(module, attribute)))
            for verb in ("stop", "start"):
                patched.setattr(processes, verb, killer.step(getattr(processes, verb)))
            try:
                roll(layout, processes, Order(goal, "ada"), patience=quick, say=lambda _: None)
            except Killed:
                kills += 1
            else:
                break
        # Nothing runs a release that it was not moved to on purpose: a pin only ever changes with its instance.
        for number, (_, release) in states(layout, processes).items():
            assert release in (None, layout.pin_of(number)), f"killed at step {at}"
        roll(layout, processes, Order(goal, "ada"), patience=quick, say=lambda _: None)
        assert states(layout, processes) == dict.fromkeys((1, 2), ("ready", goal)), f"killed at step {at}"
        assert not list(layout.run.glob("control/*.hold"))
        goal = back
    assert kills >= 15


def resolve(module: str, attribute: str) -> object:
    return getattr(pkgutil.resolve_name(module), attribute)


def test_a_roll_to_another_release_takes_the_place_of_an_interrupted_one(
    layout: Layout, processes: Processes, monkeypatch: pytest.MonkeyPatch
) -> None:
    scale(layout, processes, 3)
    move(layout, processes, NEW, only=[1])
    said: list[str] = []
    roll(layout, processes, Order(OLD, "bob"), patience=QUICK, say=said.append)
    assert states(layout, processes) == dict.fromkeys((1, 2, 3), ("ready", OLD))
    assert any("that ada began" in line and "is given up" in line for line in said)


def test_an_instance_that_is_killed_in_mid_roll_comes_back_on_its_own_release(
    layout: Layout, processes: Processes
) -> None:
    scale(layout, processes, 3)
    move(layout, processes, NEW, only=[1])
    for number in (1, 3):
        processes.kill(number, signal.SIGKILL)
    deadline = time.monotonic() + 5
    while (now := states(layout, processes)) != {1: ("ready", NEW), 2: ("ready", OLD), 3: ("ready", OLD)}:
        assert time.monotonic() < deadline, now
        time.sleep(0.05)
    assert move(layout, processes, NEW).moved == [2, 3]


def test_somebody_elses_claim_is_in_the_way_until_it_ends(layout: Layout, processes: Processes) -> None:
    scale(layout, processes, 1)
    claims.claim(layout, "bob", "1", NEW, 60)
    with pytest.raises(LockedError, match=f"bob is deploying to {NEW} since .* with --take-over"):
        move(layout, processes, NEW)
    with pytest.raises(LockedError):
        claims.claim(layout, "bob", "2", NEW, 60)
    assert not claims.unclaim(layout, "ada", "")
    claims.claim(layout, "ada", "", NEW, 60, take_over=True)
    assert move(layout, processes, NEW).moved == [1]
    assert claims.unclaim(layout, "ada", "")
    claims.claim(layout, "bob", "1", OLD, 0.01)
    time.sleep(0.02)
    assert move(layout, processes, OLD).moved == [1]


def test_each_step_of_a_deploy_holds_the_host_for_longer(layout: Layout, processes: Processes) -> None:
    scale(layout, processes, 1)
    claims.claim(layout, "ada", "", NEW, 1)
    move(layout, processes, NEW)
    held = states_of_host.load(layout.fleet_state).claim
    assert held is not None
    assert held.until > time.time() + 30


@pytest.mark.parametrize("content", ["", "{", "[]", '{"format": 1}', '{"format": 99, "last_good": null}'])
def test_a_state_that_cannot_be_trusted_stops_the_roll(layout: Layout, processes: Processes, content: str) -> None:
    scale(layout, processes, 1)
    layout.fleet_state.write_text(content)
    with pytest.raises(FleetError, match=r"is damaged|newer hecto-fleet"):
        move(layout, processes, NEW)
    assert states(layout, processes) == {1: ("ready", OLD)}


def test_without_room_for_its_state_a_roll_does_nothing(
    layout: Layout, processes: Processes, monkeypatch: pytest.MonkeyPatch
) -> None:
    scale(layout, processes, 1)
    processes.calls.clear()
    monkeypatch.setattr("hecto.fleet.state.os.fsync", full_disk)
    with pytest.raises(FleetError, match="cannot be written: No space left on device"):
        move(layout, processes, NEW)
    assert processes.calls == []


def full_disk(_: int) -> None:
    raise OSError(28, "No space left on device")
