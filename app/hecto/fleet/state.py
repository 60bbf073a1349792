"""What a host remembers of its rolls: the last good release, the roll under way, who has the host for a deploy."""

import json
import os
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from hecto.fleet import metrics
from hecto.fleet.errors import StateError

FORMAT = 1


@dataclass
class Roll:
    """A roll that has begun. It stays until every instance is moved, so that whoever comes after a crash goes on."""

    release: str
    who: str
    since: float
    every: bool = False
    # When it last did something.
    seen: float = 0.0
    # What each instance ran before it was moved, and which of these are through. In one, not in the other: half-moved.
    origin: dict[int, str | None] = field(default_factory=dict)
    done: list[int] = field(default_factory=list)
    # Of rolls that were given up for this one: what their instances had run before.
    carried: dict[int, str | None] = field(default_factory=dict)
    # Why it failed; from then on it only goes back.
    failed: str | None = None

    @property
    def half_moved(self) -> list[int]:
        """Those that a run has begun to move and not finished."""
        return sorted(self.origin.keys() - set(self.done))


@dataclass
class Claim:
    """A deploy, from its first change to its last. It is longer than any single command, so it ends by time."""

    who: str
    run: str
    release: str | None
    since: float
    until: float
    # What has the host where it is no deploy, such as a restore of the database.
    what: str | None = None

    @property
    def holds(self) -> bool:
        return self.until > time.time()


@dataclass
class State:
    """The content of the file."""

    last_good: str | None = None
    # The last good one that was another: where a person goes back to.
    good_before: str | None = None
    roll: Roll | None = None
    claim: Claim | None = None

    @property
    def releases(self) -> set[str]:
        """Every release that may be gone back to, or on to: none of these may be removed."""
        roll = {self.roll.release, *self.roll.origin.values(), *self.roll.carried.values()} if self.roll else set()
        return {release for release in (self.last_good, self.good_before, *roll) if release}

    def remember(self, release: str) -> bool:
        """Every instance runs a release well, so the roll to it has ended; returns whether that is news."""
        is_news = self.last_good != release or self.roll is not None
        if self.last_good != release:
            self.last_good, self.good_before = release, self.last_good
        self.roll = None
        return is_news


def load(path: Path) -> State:
    """Read the state; a host without one has never rolled. Raises StateError for a file that cannot be trusted."""
    try:
        content = json.loads(path.read_text())
        if content["format"] > FORMAT:
            raise StateError(
                f"{path} was written by a newer hecto-fleet (format {content['format']}, this one knows {FORMAT}). "
                "Nothing was done. Use the one of the newest release: /opt/hecto/releases/ID/bin/hecto-fleet."
            )
        last, before = _release(content["last_good"]), _release(content.get("good_before"))
        return State(last, before, _roll(content["roll"]), _claim(content["claim"]))
    except FileNotFoundError:
        return State()
    except OSError as error:
        raise StateError(f"{path} cannot be read: {error.strerror}. Nothing was done. Mend it, then go on.") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise StateError(
            f"{path} is damaged ({type(error).__name__}: {error}), so nobody knows how far a roll came. Nothing was "
            "done, all instances serve as before. See hecto-fleet status, then remove the file and roll to the release "
            "that all shall run: instances that already do are left alone."
        ) from None


def save(path: Path, state: State) -> None:
    """Replace the file in one step, on disk before anything is done that it speaks of. Raises StateError."""
    try:
        _replace(path, json.dumps({"format": FORMAT, **asdict(state) | {"claim": _claim_as_json(state.claim)}}), 0o600)
    except OSError as error:
        raise StateError(
            f"{path} cannot be written: {error.strerror}. Nothing more was done, the instances are left as they are. "
            "Make room (df -h), then run this again: it goes on where this run stopped."
        ) from None
    # Beside it, for Prometheus. It must stop nobody: a roll that cannot tell how far it is goes on.
    with suppress(OSError):
        _replace(path.with_suffix(".prom"), metrics.render(state), 0o644)


def _replace(path: Path, text: str, mode: int) -> None:
    fresh = path.with_name(f".{path.name}.new")
    try:
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, mode)
        with os.fdopen(descriptor, "w") as file:
            os.fchmod(descriptor, mode)
            file.write(text)
            file.flush()
            os.fsync(descriptor)
        os.replace(fresh, path)
    except OSError:
        # On a full disk what is half-written would only take room.
        with suppress(OSError):
            fresh.unlink()
        raise


def _release(value: Any) -> str | None:
    if not (value is None or isinstance(value, str)):
        raise TypeError(f"{value!r} is no release")
    return value


def _roll(content: dict[str, Any] | None) -> Roll | None:
    if content is None:
        return None
    numbers = {name: _numbers(content[name]) for name in ("origin", "carried")}
    roll = Roll(**content | numbers | {"done": [int(number) for number in content["done"]]})
    _release(roll.release)
    return roll


def _claim(content: dict[str, Any] | None) -> Claim | None:
    if content is None:
        return None
    return Claim(**content | {"since": float(content["since"]), "until": float(content["until"])})


def _claim_as_json(claim: Claim | None) -> dict[str, Any] | None:
    # Only where it says something: the hecto-fleet of an older release, which a rollback brings back, knows no `what`.
    if claim is None:
        return None
    return {name: value for name, value in asdict(claim).items() if name != "what" or value}


def _numbers(releases: dict[str, Any]) -> dict[int, str | None]:
    # JSON knows no other keys than texts.
    return {int(number): release for number, release in releases.items()}
