"""What clients choose: everybody does everything, and one seed makes the same choices again."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.chaos.history import Kind, State
from tests.chaos.world import HOT, World


@pytest.fixture
def world() -> World:
    made = World("run", seed=5)
    for task in range(1, HOT + 11):
        made.learn(1, [State(task, 1, f"run.1.{task}", "open")], created=True)
    return made


def test_without_a_task_there_is_one_to_make() -> None:
    assert World("run", 1).choose(1) is Kind.CREATE


def test_the_mix_has_everything(world: World) -> None:
    chosen = Counter(world.choose(1) for _ in range(2000))
    assert set(chosen) == set(Kind) - {Kind.REFRESH}
    reads = sum(chosen[kind] for kind in (Kind.LIST, Kind.GET, Kind.ACTIVITY))
    assert 800 < reads < 1200


def test_a_seed_chooses_the_same_again() -> None:
    once, again = World("run", 9), World("run", 9)
    for made in (once, again):
        made.learn(1, [State(1, 1, "run.1.1", "open")], created=True)
    assert [once.choose(1) for _ in range(100)] == [again.choose(1) for _ in range(100)]


def test_clients_meet_at_some_tasks_and_keep_to_their_own_otherwise(world: World) -> None:
    mine = Counter(world.pick(1, Kind.GET)[0] > HOT for _ in range(1000))
    assert 700 < mine[True] < 950
    assert all(world.pick(2, Kind.GET)[0] <= HOT for _ in range(50)), "a client without tasks shares those of all"


def test_the_newest_version_is_used_and_an_older_one_now_and_then(world: World) -> None:
    world.learn(2, [State(task, 5, "run.2.1", "open") for task in range(1, HOT + 11)])
    world.learn(3, [State(1, 2, "run.2.1", "open")])
    versions = Counter(world.pick(1, Kind.EDIT)[1] for _ in range(1000))
    assert set(versions) == {4, 5}
    assert versions[4] < 100


def test_the_dead_are_asked_for_and_not_worked_on(world: World) -> None:
    world.bury(1, 20)
    world.bury(1, HOT + 1)
    picked = Counter(world.pick(1, Kind.GET)[0] for _ in range(3000))
    assert 0 < picked[20] + picked[HOT + 1] < 300
