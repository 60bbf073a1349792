"""A roller that is killed with -9, at whatever point of a move or of the way back: the same command goes on."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hecto.fleet import audit, deploys, snapshot, table
from hecto.fleet import state as states
from hecto.fleet.apply import apply
from hecto.fleet.control import Reply, ask, ask_all
from hecto.fleet.errors import NotReadyError, ReturnedError
from hecto.fleet.host import Host
from hecto.fleet.layout import Layout
from tests.unit.fleet.conftest import BROKEN, NEW, OLD
from tests.unit.fleet.fleets import QUICKLY, assert_all_on, begin, move, states_of, until
from tests.unit.fleet.processes import Processes
from tests.unit.fleet.remote import Server

Make = Callable[..., str]
Roller = Callable[..., subprocess.Popen[str]]
ROLLER = Path(__file__).with_name("roller.py")


@pytest.fixture
def roller(layout: Layout, processes: Processes) -> Iterator[Roller]:
    """Start hecto-fleet in a process of its own that dies at a point."""
    root = layout.lock.parent
    server = Server(root / "supervisor", processes)
    started: list[subprocess.Popen[str]] = []

    def start(point: str, *words: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, str(ROLLER), str(root), point, *words, *QUICKLY],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "SUDO_USER": "ada"},
        )
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()
    server.shutdown()
    server.server_close()


def assert_serves_what_it_should(layout: Layout, processes: Processes, instances: int) -> None:
    """Right after the kill: what takes traffic runs what it is pinned to, and all but the one on its way take it."""
    answers = ask_all({number: layout.control(number) for number in range(1, instances + 1)})
    ready = {n: r.release for n, r in answers.items() if isinstance(r, Reply) and r.state == "ready"}
    assert len(ready) >= instances - 1
    assert ready.items() <= layout.pinned().items()


MOVE = [
    "before save 1",
    "after save 1",
    "after drain 1",
    "before stop 1",
    "after stop 1",
    "after hold 1",
    "before pin 1",
    "after pin 1",
    "after start 1",
    "before check 1",
    "after check 1",
    "after unhold 2",  # the first is part of holding
    "after resume 1",
    "after watch 1",
    "before save 2",
    "after save 2",
]
LATER = ["after drain 2", "after stop 2", "after hold 2", "after pin 2", "after check 2", "after resume 2"]
END = ["before save 4", "before save 5", "after save 5"]


@pytest.mark.parametrize("point", [*MOVE, *LATER, *END])
def test_the_same_command_goes_on(
    host: Host, layout: Layout, processes: Processes, roller: Roller, said: list[str], point: str
) -> None:
    begin(host, processes, 2)
    assert roller(point, "roll", "--release", NEW).wait(60) == -signal.SIGKILL
    assert_serves_what_it_should(layout, processes, 2)
    before = states.load(layout.fleet_state).roll
    known = deploys.look(layout).as_json()
    assert known["roll"] is None if before is None else known["roll"]["interrupted"]
    up = {n for n, found in states_of(layout, processes).items() if found in (("ready", NEW), ("held", NEW))}
    processes.calls.clear()
    done = move(host, NEW)
    assert done.resumed == (before is not None)
    assert_all_on(layout, processes, NEW, 2)
    assert states.load(layout.fleet_state) == states.State(last_good=NEW, good_before=OLD)
    # What was up already was not started a second time.
    assert set(processes.moves()) == {1, 2} - up


@pytest.mark.parametrize("point", ["after drain 1", "after stop 1", "after hold 1", "after pin 1", "before check 1"])
def test_another_release_may_be_rolled_instead(
    host: Host, layout: Layout, processes: Processes, roller: Roller, point: str
) -> None:
    begin(host, processes, 2)
    assert roller(point, "roll", "--release", NEW).wait(60) == -signal.SIGKILL
    move(host, OLD)
    assert_all_on(layout, processes, OLD, 2)


@pytest.mark.parametrize("point", ["after drain 1", "after stop 2", "after pin 2", "before check 2", "after save 3"])
def test_a_restart_of_all_goes_on_and_restarts_nothing_twice(
    host: Host, layout: Layout, processes: Processes, roller: Roller, point: str
) -> None:
    begin(host, processes, 3)
    assert roller(point, "roll", "--release", OLD, "--all").wait(60) == -signal.SIGKILL
    move(host, OLD, every=True)
    assert_all_on(layout, processes, OLD, 3)
    # Nothing was started a second time, or left out.
    assert sorted(processes.moves()) == [1, 2, 3]


BACK = [
    "before save 2",
    "after save 2",
    "after drain 2",
    "after stop 2",
    "after pin 2",
    "after start 2",
    "before save 3",
]


@pytest.mark.parametrize("point", [*BACK, "before save 3"])
def test_a_way_back_is_gone_to_its_end(
    host: Host, layout: Layout, processes: Processes, roller: Roller, release: Make, point: str
) -> None:
    begin(host, processes, 2)
    assert roller(point, "roll", "--release", release("e" * 12, "check fails")).wait(60) == -signal.SIGKILL
    assert_serves_what_it_should(layout, processes, 2)
    with pytest.raises(ReturnedError, match="fails its self check"):
        move(host, "e" * 12)
    assert_all_on(layout, processes, OLD, 2)
    assert states.load(layout.fleet_state) == states.State(last_good=OLD)


def test_a_held_instance_is_let_in_by_scaling_after_its_check(
    host: Host, layout: Layout, processes: Processes, roller: Roller
) -> None:
    begin(host, processes, 2)
    assert roller("before check 1", "roll", "--release", NEW).wait(60) == -signal.SIGKILL
    assert states_of(layout, processes)[1] == ("held", NEW)
    shown = table.render(snapshot.take(layout, processes, OLD))
    assert re.search(rf"instance-1 +held +{NEW}", shown)
    assert "instance-1: takes no traffic until a roll has looked at it" in shown
    assert apply(host, 2, OLD).as_json()["resumed"] == [1]
    assert states_of(layout, processes) == {1: ("ready", NEW), 2: ("ready", OLD)}
    assert not layout.is_on_hold(1)


def test_a_held_instance_that_fails_its_check_stays_out(
    host: Host, layout: Layout, processes: Processes, roller: Roller, release: Make
) -> None:
    begin(host, processes, 2)
    release("e" * 12, "check fails")
    assert roller("before check 1", "roll", "--release", "e" * 12).wait(60) == -signal.SIGKILL
    with pytest.raises(NotReadyError, match=r"instance-1 held, and: .* GET /tasks: 500.*stay held"):
        apply(host, 3, OLD)
    # What else was to be done is done.
    found = states_of(layout, processes)
    assert found == {1: ("held", "e" * 12), 2: ("ready", OLD), 3: ("ready", OLD)}
    assert layout.is_on_hold(1)
    move(host, OLD)
    assert_all_on(layout, processes, OLD, 3)


def test_an_instance_that_dies_while_nobody_rolls_comes_back_as_it_was(
    host: Host, layout: Layout, processes: Processes, roller: Roller
) -> None:
    begin(host, processes, 2)
    assert roller("before check 1", "roll", "--release", NEW).wait(60) == -signal.SIGKILL
    pids = {number: ask(layout.control(number)).pid for number in (1, 2)}
    for number in pids:
        processes.kill(number, signal.SIGKILL)
    until(lambda: states_of(layout, processes) == {1: ("held", NEW), 2: ("ready", OLD)})
    assert all(ask(layout.control(number)).pid != pid for number, pid in pids.items())


def test_two_rollers_at_once(host: Host, layout: Layout, processes: Processes, roller: Roller) -> None:
    begin(host, processes, 3)
    both = [roller("never", "roll", "--release", release) for release in (NEW, NEW)]
    codes = sorted(process.wait(60) for process in both)
    assert codes == [0, 3]
    assert processes.moves() == [1, 2, 3]
    assert_all_on(layout, processes, NEW, 3)


def test_whoever_started_it_may_go_away(host: Host, layout: Layout, processes: Processes, roller: Roller) -> None:
    begin(host, processes, 3)
    process = roller("never", "roll", "--release", NEW)
    for stream in (process.stdout, process.stderr):
        assert stream
        stream.close()
    process.stdout = process.stderr = None
    assert process.wait(60) == 0
    assert_all_on(layout, processes, NEW, 3)


def test_an_interrupted_roll_says_how_to_go_on(
    host: Host, layout: Layout, processes: Processes, roller: Roller
) -> None:
    begin(host, processes, 2)
    process = roller("before check 1", "roll", "--release", NEW)
    assert process.wait(60) == -signal.SIGKILL
    (line,) = (line for line in deploys.look(layout).lines() if "roll" in line)
    assert "that ada began at" in line
    assert line.endswith(f"This goes on with it: hecto-fleet roll --release {NEW}")
    process = roller("never", "roll", "--release", BROKEN)
    until(lambda: (roll := states.load(layout.fleet_state).roll) and roll.release == BROKEN)
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 130
    assert "the same command goes on with it" in process.communicate()[1]
    assert [line["result"] for line in audit.read(layout.history)] == ["interrupted"]
