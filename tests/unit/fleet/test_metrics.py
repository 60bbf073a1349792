"""What Prometheus is told of a roll, in the file beside the state."""

from __future__ import annotations

import stat
from pathlib import Path

from hecto.fleet import state as states
from hecto.fleet.state import Claim, Roll, State


def told(path: Path) -> dict[str, float]:
    lines = [line for line in path.with_suffix(".prom").read_text().splitlines() if not line.startswith("#")]
    return {name: float(value) for name, value in map(str.split, lines)}


def test_a_roll_under_way_tells_when_it_last_did_something(tmp_path: Path) -> None:
    roll = Roll("aaaaaaaaaaaa", "ada", since=1000.0, seen=1060.0, done=[1, 2])
    states.save(tmp_path / "fleet.json", State(roll=roll, claim=Claim("ada", "1", None, 990.0, 1300.0)))
    assert told(tmp_path / "fleet.json") == {
        "hecto_roll_under_way": 1,
        "hecto_roll_failed": 0,
        "hecto_roll_began_timestamp_seconds": 1000,
        "hecto_roll_last_step_timestamp_seconds": 1060,
        "hecto_roll_moved_instances": 2,
        "hecto_claim_until_timestamp_seconds": 1300,
    }


def test_a_roll_that_failed_says_so(tmp_path: Path) -> None:
    states.save(tmp_path / "fleet.json", State(roll=Roll("aaaaaaaaaaaa", "ada", since=1.0, failed="no answer")))
    assert told(tmp_path / "fleet.json")["hecto_roll_failed"] == 1


def test_after_a_roll_there_is_none(tmp_path: Path) -> None:
    states.save(tmp_path / "fleet.json", State(roll=Roll("aaaaaaaaaaaa", "ada", since=1000.0)))
    states.save(tmp_path / "fleet.json", State(last_good="aaaaaaaaaaaa"))
    assert set(told(tmp_path / "fleet.json").values()) == {0}


def test_others_may_read_it_and_nobody_the_state(tmp_path: Path) -> None:
    states.save(tmp_path / "fleet.json", State())
    assert stat.S_IMODE((tmp_path / "fleet.prom").stat().st_mode) == 0o644
    assert stat.S_IMODE((tmp_path / "fleet.json").stat().st_mode) == 0o600


def test_a_file_that_cannot_be_written_stops_nobody(tmp_path: Path) -> None:
    (tmp_path / "fleet.prom").mkdir()
    states.save(tmp_path / "fleet.json", State(last_good="aaaaaaaaaaaa"))
    assert states.load(tmp_path / "fleet.json").last_good == "aaaaaaaaaaaa"
