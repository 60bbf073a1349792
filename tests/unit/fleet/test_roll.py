"""Rolling: one instance after another, and back when the new release does not come up."""

import pytest

from hecto.fleet.errors import NotReadyError
from hecto.fleet.layout import Layout
from hecto.fleet.roll import Rolled, roll
from tests.unit.fleet.conftest import BROKEN, NEW, OLD, QUICK
from tests.unit.fleet.processes import Processes
from tests.unit.fleet.test_apply import scale, states


def move(layout: Layout, processes: Processes, release: str, **more: bool) -> Rolled:
    processes.wanted = len(processes.units().by_number)
    return roll(layout, processes, release, patience=QUICK, say=lambda _: None, **more)


def test_a_roll_moves_one_after_another(layout: Layout, processes: Processes) -> None:
    scale(layout, processes, 3)
    processes.calls.clear()
    assert move(layout, processes, NEW).moved == [1, 2, 3]
    assert states(layout, processes) == dict.fromkeys((1, 2, 3), ("ready", NEW))
    assert processes.calls == [(verb, [n]) for n in (1, 2, 3) for verb in ("stop", "start")]


def test_a_second_roll_has_nothing_to_do_unless_all_are_meant(layout: Layout, processes: Processes) -> None:
    scale(layout, processes, 2)
    assert not move(layout, processes, OLD).as_json()["changed"]
    assert move(layout, processes, OLD, every=True).moved == [1, 2]


def test_check_says_which(layout: Layout, processes: Processes) -> None:
    scale(layout, processes, 2)
    processes.calls.clear()
    assert move(layout, processes, NEW, check=True).moved == [1, 2]
    assert processes.calls == []


def test_a_broken_release_stops_at_the_first_and_is_taken_back(layout: Layout, processes: Processes) -> None:
    scale(layout, processes, 3)
    with pytest.raises(NotReadyError, match=f"On release {BROKEN} instance-1 ended .* It runs {OLD} again"):
        move(layout, processes, BROKEN)
    assert states(layout, processes) == dict.fromkeys((1, 2, 3), ("ready", OLD))
    assert layout.pinned() == dict.fromkeys((1, 2, 3), OLD)
