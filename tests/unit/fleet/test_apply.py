"""Scaling: what is missing starts, what is too much finishes its work first, what runs is left alone."""

import http.client
import os
import signal
import socket
import threading
import time
from collections.abc import Callable

import pytest

from hecto.fleet import snapshot
from hecto.fleet.apply import Plan, apply, batches
from hecto.fleet.control import ControlError, Reply, ask, ask_all
from hecto.fleet.errors import NotReadyError, UsageError
from hecto.fleet.host import Host, Patience
from hecto.fleet.layout import Layout
from hecto.fleet.words import spell
from tests.unit.fleet.conftest import BROKEN, NEW, OLD, QUICK, UNREADY
from tests.unit.fleet.fleets import until
from tests.unit.fleet.processes import Processes


def scale(layout: Layout, processes: Processes, instances: int, release: str = OLD, **more: object) -> Plan:
    options: dict[str, object] = {"patience": QUICK, "say": lambda _: None, "check": False} | more
    check = bool(options.pop("check"))
    return apply(Host(layout, processes, **options), instances, release, check=check)  # type: ignore[arg-type]


def states(layout: Layout, processes: Processes) -> dict[int, tuple[str, str | None]]:
    return {n: (i.state, i.release) for n, i in snapshot.take(layout, processes, wanted=()).instances.items()}


def make_busy(layout: Layout, number: int, what: str, amount: int) -> None:
    connection = http.client.HTTPConnection("localhost")
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.connect(str(layout.control(number)))
    connection.request("POST", f"/test?{what}={amount}")
    connection.getresponse().read()
    connection.close()


def test_a_fleet_starts_and_a_second_run_changes_nothing(layout: Layout, processes: Processes) -> None:
    first = scale(layout, processes, 3)
    assert (first.start, first.stop, first.changed) == ([1, 2, 3], [], True)
    assert states(layout, processes) == dict.fromkeys((1, 2, 3), ("ready", OLD))
    assert processes.target_active
    before = {n: u.pid for n, u in processes.units().by_number.items()}
    assert not scale(layout, processes, 3).changed
    assert {n: u.pid for n, u in processes.units().by_number.items()} == before


def test_more_instances_run_the_new_release_and_leave_the_old_ones_alone(layout: Layout, processes: Processes) -> None:
    scale(layout, processes, 1)
    pid = processes.units().by_number[1].pid
    done = scale(layout, processes, 3, NEW)
    assert done.start == [2, 3]
    assert done.due == {1: [f"release {OLD}"]}
    assert states(layout, processes) == {1: ("ready", OLD), 2: ("ready", NEW), 3: ("ready", NEW)}
    assert processes.units().by_number[1].pid == pid


def test_fewer_instances_stop_from_the_top_in_one_call(layout: Layout, processes: Processes) -> None:
    scale(layout, processes, 4)
    processes.calls.clear()
    assert scale(layout, processes, 2).stop == [4, 3]
    assert processes.calls == [("stop", [4, 3])]
    assert set(layout.pinned()) == {1, 2}


def test_an_instance_finishes_its_requests_before_it_stops(layout: Layout, processes: Processes) -> None:
    scale(layout, processes, 2)
    make_busy(layout, 2, "in_flight", 1)
    run = threading.Thread(target=scale, args=(layout, processes, 1), kwargs={"patience": Patience(drain=20)})
    run.start()
    until(lambda: ask(layout.control(2)).state == "draining")
    assert (ask(layout.control(2)).in_flight, run.is_alive()) == (1, True)
    make_busy(layout, 2, "in_flight", 0)
    run.join(20)
    assert set(processes.units().by_number) == {1}


@pytest.mark.parametrize(("what", "patient"), [("in_flight", True), ("websockets", False)])
def test_the_deadline_ends_the_wait(layout: Layout, processes: Processes, what: str, patient: bool) -> None:
    scale(layout, processes, 2)
    make_busy(layout, 2, what, 5)
    said: list[str] = []
    begun = time.monotonic()
    scale(layout, processes, 1, say=said.append)
    waited = time.monotonic() - begun
    assert (waited >= QUICK.drain) is patient
    assert any("has 5 requests left" in line for line in said) is patient
    assert set(processes.units().by_number) == {1}


def test_a_hung_instance_is_stopped_all_the_same(layout: Layout, processes: Processes) -> None:
    scale(layout, processes, 2)
    processes.kill(2, signal.SIGSTOP)
    scale(layout, processes, 1)
    assert set(processes.units().by_number) == {1}


def test_check_changes_nothing(layout: Layout, processes: Processes) -> None:
    scale(layout, processes, 2)
    processes.calls.clear()
    assert scale(layout, processes, 4, check=True).start == [3, 4]
    assert scale(layout, processes, 1, check=True).stop == [2]
    assert processes.calls == []
    assert set(states(layout, processes)) == {1, 2}


def test_a_drain_that_nobody_finished_is_taken_back(layout: Layout, processes: Processes) -> None:
    scale(layout, processes, 2)
    ask(layout.control(1), "drain")
    done = scale(layout, processes, 2)
    assert (done.resume, done.changed) == ([1], True)
    assert states(layout, processes)[1] == ("ready", OLD)


def test_a_release_that_ends_is_reported_soon_and_the_next_run_mends_it(layout: Layout, processes: Processes) -> None:
    scale(layout, processes, 1)
    begun = time.monotonic()
    with pytest.raises(NotReadyError, match=r"instance-2 ended \d+ times .*journalctl -t hecto-2"):
        scale(layout, processes, 2, BROKEN, patience=Patience(ready=60))
    assert time.monotonic() - begun < 10
    assert states(layout, processes)[1] == ("ready", OLD)
    scale(layout, processes, 2, NEW)
    assert states(layout, processes) == {1: ("ready", OLD), 2: ("ready", NEW)}


def test_a_release_that_never_gets_ready_is_reported(layout: Layout, processes: Processes) -> None:
    with pytest.raises(NotReadyError, match="instance-1 is starting"):
        scale(layout, processes, 1, UNREADY, patience=Patience(ready=0.5))


def test_an_instance_that_dies_comes_back_on_its_own_release(layout: Layout, processes: Processes) -> None:
    scale(layout, processes, 1)
    processes.kill(1, signal.SIGKILL)
    until(lambda: processes.units().by_number[1].restarts)
    scale(layout, processes, 1, NEW)
    assert states(layout, processes)[1] == ("ready", OLD)
    assert processes.units().by_number[1].restarts == 1


@pytest.mark.parametrize(
    ("instances", "wish", "says"),
    [(0, OLD, "at least 1 instance"), (1, "eeeeeeeeeeee", "is not on this host"), (1, "../../etc", "no release id")],
)
def test_wrong_wishes_are_refused(layout: Layout, processes: Processes, instances: int, wish: str, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        scale(layout, processes, instances, wish)
    assert processes.calls == []


def change_environment(layout: Layout) -> None:
    layout.environment.write_text(layout.environment.read_text().replace('"4"', '"7"'))


def change_secret(layout: Layout) -> None:
    (layout.secrets / "secret-key").write_text("second")


def change_unit(layout: Layout) -> None:
    time.sleep(0.05)
    (layout.config / "unit").write_text("[Service]\nNice=1\n")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (change_environment, "environment HECTO_DATABASE_POOL"),
        (change_secret, "secret secret-key"),
        (change_unit, "unit"),
    ],
)
def test_what_changed_under_a_running_instance_makes_a_roll_due(
    layout: Layout, processes: Processes, change: Callable[[Layout], None], reason: str
) -> None:
    scale(layout, processes, 2)
    assert scale(layout, processes, 2).due == {}
    change(layout)
    done = scale(layout, processes, 2)
    assert (done.due, done.changed) == ({1: [reason], 2: [reason]}, False)


def test_one_hung_instance_delays_nobody_for_longer_than_its_timeout(layout: Layout, processes: Processes) -> None:
    scale(layout, processes, 4)
    processes.kill(3, signal.SIGSTOP)
    begun = time.monotonic()
    now = snapshot.take(layout, processes, OLD, range(1, 5))
    assert time.monotonic() - begun < 2
    assert [i.state for i in now.instances.values()] == ["ready", "ready", "hung", "ready"]
    assert now.instances[3].problem == "control socket: no answer within 1 s"
    assert not now.ready
    assert all(i.memory for i in now.instances.values())


def test_asking_many(layout: Layout, processes: Processes) -> None:
    scale(layout, processes, 2)
    answers = ask_all({number: layout.control(number) for number in (1, 2, 9)})
    assert isinstance(answers[1], Reply)
    assert answers[1].pid != os.getpid()
    assert isinstance(answers[9], ControlError)
    assert str(answers[9]) == "does not listen"


def test_batches_follow_the_cores() -> None:
    assert [list(b) for b in batches([1, 2, 3, 4, 5], 1)] == [[1, 2], [3, 4], [5]]
    assert [len(b) for b in batches(range(1, 101), 16)] == [16] * 6 + [4]


def test_numbers_for_a_person() -> None:
    assert spell([3]) == "instance-3"
    assert spell([4, 3, 2, 7]) == "instances 2-4 7"
