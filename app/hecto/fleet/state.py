"""What a host remembers of its rolls: the last good release, a roll under way, who has the host for a deploy."""

import json
import os
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from hecto.fleet.errors import FleetError

FORMAT = 1


@dataclass
class Roll:
    """A roll that has begun. It stays until every instance is moved, so that whoever comes after a crash goes on."""

    release: str
    who: str
    since: float
    every: bool
    # What each instance ran before this roll moved it, and those that are through.
    origin: dict[int, str | None] = field(default_factory=dict)
    done: list[int] = field(default_factory=list)


@dataclass
class Claim:
    """A deploy, from its first change to its last: longer than any single command, so it ends by time."""

    who: str
    run: str
    release: str | None
    since: float
    until: float

    @property
    def holds(self) -> bool:
        return self.until > time.time()


@dataclass
class State:
    """The content of the file."""

    last_good: str | None = None
    roll: Roll | None = None
    claim: Claim | None = None


def load(path: Path) -> State:
    """Read the state; a host without one has never rolled. Raises FleetError for a file that cannot be trusted."""
    try:
        content = json.loads(path.read_text())
        if content["format"] > FORMAT:
            raise FleetError(
                f"{path} was written by a newer hecto-fleet. Nothing was done. Use the newest one: the releases "
                "on this host are in /opt/hecto/releases, each with its bin/hecto-fleet."
            )
        return State(content["last_good"], _roll(content["roll"]), _claim(content["claim"]))
    except FileNotFoundError:
        return State()
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise FleetError(
            f"{path} is damaged ({type(error).__name__}: {error}), so nobody knows how far a roll came. Nothing was "
            "done. Look which release each instance runs (journalctl -t hecto-1), remove the file and roll again."
        ) from None


def save(path: Path, state: State) -> None:
    """Replace the file in one step, on disk before anything is done that it speaks of. Raises FleetError."""
    fresh = path.with_name(f".{path.name}.new")
    try:
        with fresh.open("w") as handle:
            json.dump({"format": FORMAT, **asdict(state)}, handle)
            handle.flush()
            os.fsync(handle.fileno())
        fresh.replace(path)
    except OSError as error:
        raise FleetError(
            f"{path} cannot be written: {error.strerror}. Nothing more was done, the instances serve as they are. "
            "Make room on the disk (df -h), then run this again."
        ) from None


def _roll(content: dict[str, Any] | None) -> Roll | None:
    if content is None:
        return None
    origin = {int(number): release for number, release in content.pop("origin").items()}
    return Roll(origin=origin, **content)


def _claim(content: dict[str, Any] | None) -> Claim | None:
    return None if content is None else Claim(**content)
