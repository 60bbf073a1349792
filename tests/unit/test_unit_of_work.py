"""How often a unit of work is tried, and for how long: on a clock that goes by the pauses."""

from __future__ import annotations

import itertools
from types import SimpleNamespace
from typing import Any

import psycopg2
import pytest
from sqlalchemy.exc import OperationalError

from hecto.core import unit_of_work
from hecto.core.errors import Unavailable


class Clock:
    """Time passes while somebody waits, and no other way."""

    def __init__(self) -> None:
        self.now = 100.0

    def sleep(self, seconds: float) -> None:
        self.now += seconds


class Database:
    """Refuses connections for a time, which its errors say."""

    def __init__(self, refusing: bool) -> None:
        self.refusing = refusing

    def restarts(self) -> bool:
        return self.refusing

    def refused(self, error: Any) -> bool:
        return self.refusing and error.orig.args == ("refused",)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(unit_of_work, "time", SimpleNamespace(monotonic=lambda: made.now))
    monkeypatch.setattr(unit_of_work, "gevent", SimpleNamespace(sleep=made.sleep))
    return made


def lost(words: str) -> OperationalError:
    return OperationalError("SELECT 1", None, psycopg2.OperationalError(words), connection_invalidated=True)


def test_a_primary_that_moves_is_waited_for(clock: Clock) -> None:
    """For seven seconds, with a look at the end of them, however the pauses fall."""
    for _ in range(20):
        begun, looks = clock.now, []

        def attempt(begun: float = begun, looks: list[float] = looks) -> str:
            looks.append(clock.now - begun)
            if clock.now - begun < 6.9:
                raise lost("refused")
            return "done"

        assert unit_of_work._repeat(Database(refusing=True), attempt) == "done"  # type: ignore[arg-type]
        assert looks[-1] <= unit_of_work.LAST_BEGINNING + 0.001
        assert max(after - before for before, after in itertools.pairwise(looks)) <= 1.5


def test_a_server_that_stays_away_is_given_up(clock: Clock) -> None:
    begun = clock.now

    def attempt() -> None:
        raise lost("refused")

    with pytest.raises(Unavailable):
        unit_of_work._repeat(Database(refusing=True), attempt)  # type: ignore[arg-type]
    assert clock.now - begun == pytest.approx(unit_of_work.LAST_BEGINNING, abs=0.001)


@pytest.mark.parametrize("refusing", [True, False])
def test_work_that_was_begun_is_tried_three_times(clock: Clock, refusing: bool) -> None:
    """Also where others are refused meanwhile."""
    tried = []

    def attempt() -> None:
        tried.append(clock.now)
        raise lost("in the middle")

    with pytest.raises(Unavailable):
        unit_of_work._repeat(Database(refusing), attempt)  # type: ignore[arg-type]
    assert len(tried) == unit_of_work.ATTEMPTS
