"""Rolls: a canary, then a few at a time, and back when the new release does not work out."""

import os
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import replace

import pytest

from hecto.fleet import state as states
from hecto.fleet.apply import apply
from hecto.fleet.control import ask
from hecto.fleet.errors import NeedsAPersonError, ReturnedError, StateError, UsageError
from hecto.fleet.host import Host, Patience
from hecto.fleet.layout import Layout
from tests.unit.fleet.conftest import BROKEN, NEW, OLD
from tests.unit.fleet.fleets import assert_all_on, begin, make_busy, move, states_of, until
from tests.unit.fleet.processes import Processes

BAD = "eeeeeeeeeeee"
Make = Callable[..., str]


@pytest.mark.parametrize("instances", [1, 2, 4])
def test_one_after_another_each_stopped_before_its_pin_moves(
    host: Host, layout: Layout, processes: Processes, instances: int
) -> None:
    begin(host, processes, instances)
    done = move(host, NEW)
    numbers = list(range(1, instances + 1))
    assert (done.batches, done.moved, done.resumed) == ([[n] for n in numbers], numbers, False)
    assert processes.calls == [(verb, [n]) for n in numbers for verb in ("stop", "start")]
    assert_all_on(layout, processes, NEW, instances)
    assert states.load(layout.fleet_state) == states.State(last_good=NEW, good_before=OLD)


def test_later_batches_move_together(host: Host, layout: Layout, processes: Processes) -> None:
    begin(host, processes, 20)
    done = move(host, NEW, only=[1, 2, 3, 4, 5])
    assert done.batches == [[1], [2, 3], [4, 5]]
    assert [numbers for verb, numbers in processes.calls if verb == "start"] == done.batches
    # The playbook's next batch belongs to the same roll: no canary, and the roll stays until it is finished.
    assert move(host, NEW, only=[6, 7]).batches == [[6, 7]]
    assert sorted(n for n, (_, release) in states_of(layout, processes).items() if release == NEW) == [*range(1, 8)]
    kept = states.load(layout.fleet_state)
    assert kept.roll
    assert (kept.last_good, kept.roll.done) == (OLD, [1, 2, 3, 4, 5, 6, 7])
    assert move(host, NEW, only=[6, 7]).as_json()["changed"] is False


def test_a_second_roll_has_nothing_to_do_unless_all_are_meant(host: Host, layout: Layout, processes: Processes) -> None:
    begin(host, processes, 2)
    assert not move(host, OLD).as_json()["changed"]
    assert move(host, OLD, every=True).moved == [1, 2]
    assert move(host, OLD, every=True).moved == [1, 2]
    assert_all_on(layout, processes, OLD, 2)


def test_check_says_which_and_changes_nothing(host: Host, layout: Layout, processes: Processes) -> None:
    begin(host, processes, 3)
    before = sorted((str(path), path.lstat().st_mtime_ns) for path in layout.state.rglob("*"))
    assert move(host, NEW, check=True).as_json() == {
        "changed": True,
        "release": NEW,
        "batches": [[1], [2], [3]],
        "moved": [],
        "resumed": False,
    }
    assert processes.calls == []
    assert sorted((str(path), path.lstat().st_mtime_ns) for path in layout.state.rglob("*")) == before
    assert_all_on(layout, processes, OLD, 3)


def test_what_is_not_here_is_refused(host: Host, processes: Processes) -> None:
    begin(host, processes, 2)
    with pytest.raises(UsageError, match="no instance-7"):
        move(host, NEW, only=[2, 7])
    with pytest.raises(UsageError, match="is not on this host"):
        move(host, "f" * 12)
    assert processes.calls == []


BREAKS = {
    "ends": r"instance-1 ended \d+ times",
    "never ready": "instance-1 is starting",
    "check fails": "instance-1 fails its self check: GET /tasks: 500",
    "errors under traffic": r"instance-1 answered \d+ of \d+ requests with an error \(the others 0 of \d+\)",
    "ends under traffic": "instance-1 ended 2 times under traffic",
}


@pytest.mark.parametrize("behaviour", BREAKS)
def test_a_broken_release_ends_at_the_canary_and_is_taken_back(
    host: Host, layout: Layout, processes: Processes, release: Make, behaviour: str
) -> None:
    begin(host, processes, 3)
    # Only the one that says nothing is waited for to the end; the others must be found out by what they do.
    patience = replace(host.patience, ready=3 if behaviour == "never ready" else 60, canary=1.5)
    with pytest.raises(ReturnedError, match=BREAKS[behaviour]) as caught:
        move(replace(host, patience=patience), release(BAD, behaviour))
    assert "Everything is back on what it ran before" in str(caught.value)
    assert "hecto-1: the last words of instance-1" in str(caught.value)
    assert caught.value.details["journal"] == {"1": ["the last words of instance-1"]}
    assert (caught.value.code, caught.value.details["returned"]) == (5, [1])
    assert set(processes.moves()) == {1}
    assert_all_on(layout, processes, OLD, 3)
    assert states.load(layout.fleet_state) == states.State(last_good=OLD)


def test_when_a_later_batch_fails_all_that_was_moved_goes_back(
    host: Host, layout: Layout, processes: Processes, release: Make
) -> None:
    begin(host, processes, 4)
    move(host, NEW, only=[1, 2])
    release(NEW, "ends")
    with pytest.raises(ReturnedError, match="instance-3 ended") as caught:
        move(host, NEW)
    assert caught.value.details["returned"] == [1, 2, 3]
    # The one that takes no traffic first.
    assert processes.moves() == [1, 2, 3, 3, 1, 2]
    assert_all_on(layout, processes, OLD, 4)


def test_when_going_back_fails_too_a_person_is_needed(
    host: Host, layout: Layout, processes: Processes, release: Make
) -> None:
    begin(host, processes, 3)
    release(OLD, "ends")
    with pytest.raises(NeedsAPersonError, match="Not everything could be taken back: instance-1 ended") as caught:
        move(host, BROKEN)
    assert (caught.value.code, caught.value.details["returned"]) == (4, [])
    assert {n: s for n, s in states_of(layout, processes).items() if n != 1} == dict.fromkeys((2, 3), ("ready", OLD))
    # Nothing is forgotten: when the cause is mended, the same command goes on with going back.
    release(OLD)
    with pytest.raises(ReturnedError, match="Everything is back"):
        move(host, BROKEN)
    assert_all_on(layout, processes, OLD, 3)


def test_what_serves_is_left_alone_when_there_is_no_way_back(
    host: Host, layout: Layout, processes: Processes, release: Make
) -> None:
    begin(host, processes, 4)
    move(host, NEW, only=[1, 2])
    release(NEW, "ends")
    release(OLD, "ends")
    with pytest.raises(NeedsAPersonError, match=f"instance-1 is left on {NEW}, where it serves") as caught:
        move(host, NEW)
    assert sorted(caught.value.details["not_returned"]) == ["1", "2", "3"]
    found = states_of(layout, processes)
    assert [found[number] for number in (1, 2, 4)] == [("ready", NEW), ("ready", NEW), ("ready", OLD)]
    release(OLD)
    with pytest.raises(ReturnedError):
        move(host, NEW)
    assert_all_on(layout, processes, OLD, 4)


def test_one_that_is_not_wanted_any_more_is_not_brought_back(
    host: Host, layout: Layout, processes: Processes, release: Make
) -> None:
    begin(host, processes, 3)
    move(host, NEW, only=[1, 3])
    apply(host, 2, NEW)
    processes.wanted = 2
    release(NEW, "check fails")
    with pytest.raises(ReturnedError):
        move(host, NEW)
    assert_all_on(layout, processes, OLD, 2)


def test_a_restart_of_all_that_fails_has_only_itself_to_go_back_to(
    host: Host, layout: Layout, processes: Processes, release: Make
) -> None:
    begin(host, processes, 2)
    release(OLD, "check fails")
    with pytest.raises(ReturnedError, match="fails its self check"):
        move(host, OLD, every=True)
    assert_all_on(layout, processes, OLD, 2)


def test_a_release_from_before_holds_and_checks_is_taken_as_it_is(
    host: Host, layout: Layout, processes: Processes, release: Make
) -> None:
    begin(host, processes, 2, release(BAD, "from before"))
    assert ask(layout.control(1)).requests == 0
    move(host, NEW)
    assert_all_on(layout, processes, NEW, 2)
    move(host, BAD)
    assert_all_on(layout, processes, BAD, 2)


def test_requests_in_hand_are_finished_and_the_deadline_ends_the_wait(
    host: Host, layout: Layout, processes: Processes, release: Make, said: list[str]
) -> None:
    begin(host, processes, 2)
    make_busy(layout, 1, "in_flight", 1)
    rolling = threading.Thread(target=move, args=(replace(host, patience=Patience(canary=0.1)), NEW))
    rolling.start()
    until(lambda: ask(layout.control(1)).state == "draining")
    assert processes.calls == []
    make_busy(layout, 1, "in_flight", 0)
    rolling.join(20)
    assert_all_on(layout, processes, NEW, 2)
    move(host, release(BAD, "hangs in drain"))
    begun = time.monotonic()
    move(host, NEW)
    assert 2 * host.patience.drain <= time.monotonic() - begun < 10
    assert any("instance-1 has 1 requests left; going on" in line for line in said)
    assert_all_on(layout, processes, NEW, 2)


def test_one_that_died_while_it_drained_is_told_again(host: Host, layout: Layout, processes: Processes) -> None:
    begin(host, processes, 1)
    make_busy(layout, 1, "in_flight", 1)
    rolling = threading.Thread(target=move, args=(replace(host, patience=Patience(drain=60, canary=0.1)), NEW))
    make_busy(layout, 1, "websockets", 1)
    rolling.start()
    until(lambda: ask(layout.control(1)).state == "draining")
    processes.kill(1, signal.SIGKILL)
    rolling.join(20)
    assert_all_on(layout, processes, NEW, 1)


def test_one_that_is_hung_is_moved_all_the_same(host: Host, layout: Layout, processes: Processes) -> None:
    begin(host, processes, 2)
    processes.kill(2, signal.SIGSTOP)
    assert move(host, NEW).moved == [1, 2]
    assert_all_on(layout, processes, NEW, 2)


def test_what_dies_in_mid_roll_comes_back_on_its_own_release(host: Host, layout: Layout, processes: Processes) -> None:
    begin(host, processes, 3)
    move(host, NEW, only=[1])
    for number, release in ((1, NEW), (2, OLD)):
        before = ask(layout.control(number)).pid
        processes.kill(number, signal.SIGKILL)
        until(lambda: states_of(layout, processes).get(number) == ("ready", release))  # noqa: B023
        reply = ask(layout.control(number))
        assert (reply.state, reply.release, reply.pid != before) == ("ready", release, True)
    assert move(host, NEW).moved == [2, 3]
    assert_all_on(layout, processes, NEW, 3)


def test_a_single_kill_of_the_canary_condemns_no_release(host: Host, layout: Layout, processes: Processes) -> None:
    begin(host, processes, 2)
    rolling = threading.Thread(target=move, args=(replace(host, patience=replace(host.patience, canary=1.5)), NEW))
    rolling.start()
    until(lambda: states_of(layout, processes).get(1) == ("ready", NEW))
    processes.kill(1, signal.SIGKILL)
    rolling.join(20)
    assert_all_on(layout, processes, NEW, 2)


def test_a_roll_mends_what_does_not_serve(host: Host, layout: Layout, processes: Processes) -> None:
    begin(host, processes, 4)
    ask(layout.control(2), "drain")
    processes.stop([3])
    assert move(host, OLD).moved == [2, 3]
    assert_all_on(layout, processes, OLD, 4)


def test_an_interrupted_roll_may_be_given_up_for_another(
    host: Host, layout: Layout, processes: Processes, release: Make, said: list[str]
) -> None:
    begin(host, processes, 3)
    move(host, NEW, only=[1, 2])
    with pytest.raises(ReturnedError):
        move(host, release(BAD, "check fails"))
    assert any(f"giving up the roll to {NEW} that ada began" in line for line in said)
    # The canary went from the one to the other, and goes back to what it ran before both.
    assert states_of(layout, processes) == {1: ("ready", OLD), 2: ("ready", NEW), 3: ("ready", OLD)}
    move(host, OLD)
    assert_all_on(layout, processes, OLD, 3)


def test_a_full_disk_stops_a_roll_before_it_begins(
    host: Host, layout: Layout, processes: Processes, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin(host, processes, 2)
    _fill(monkeypatch)
    with pytest.raises(StateError, match="No space left on device"):
        move(host, NEW)
    monkeypatch.undo()
    assert processes.calls == []
    assert sorted(path.name for path in layout.state.iterdir()) == ["fleet.json", "fleet.prom", "pins"]
    assert_all_on(layout, processes, OLD, 2)


def test_a_disk_that_fills_in_mid_roll_keeps_nothing_from_serving(
    host: Host, layout: Layout, processes: Processes, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin(host, processes, 2)

    def pin(self: Layout, number: int, release_id: str) -> None:
        if self.pin_of(number) != release_id:
            _fill(monkeypatch)
            raise OSError(28, os.strerror(28), str(self.pins / str(number)))

    monkeypatch.setattr(Layout, "pin", pin)
    with pytest.raises(ReturnedError, match=f"instance-1 could not be pinned to {NEW}"):
        move(host, NEW)
    monkeypatch.undo()
    assert_all_on(layout, processes, OLD, 2)


def _fill(monkeypatch: pytest.MonkeyPatch) -> None:
    def fsync(_: int) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(os, "fsync", fsync)
