"""What a host knows of its deploys, beside its instances: for `hecto-fleet status`."""

import time
from dataclasses import dataclass
from typing import Any

from hecto.fleet import claim as claims
from hecto.fleet import state as states
from hecto.fleet.errors import StateError
from hecto.fleet.layout import Layout
from hecto.fleet.lock import is_free
from hecto.fleet.state import Claim, Roll, State
from hecto.fleet.words import clock

# Between two steps of a deploy nobody holds the lock; a pause longer than this is none.
PAUSE = 60.0


@dataclass(frozen=True)
class Deploys:
    """The last good release, a roll that has begun, who has the host."""

    state: State
    is_locked: bool
    # Why the state could not be read.
    problem: str | None = None

    @property
    def claim(self) -> Claim | None:
        """The claim that holds at this moment."""
        return self.state.claim if self.state.claim and self.state.claim.holds else None

    def is_interrupted(self, roll: Roll) -> bool:
        """Whether nobody is at work on a roll any more."""
        return not self.is_locked and (self.claim is None or time.time() - roll.seen > PAUSE)

    def as_json(self) -> dict[str, Any]:
        """Keys for the answer of status."""
        roll = self.state.roll
        return {
            "last_good": self.state.last_good,
            "good_before": self.state.good_before,
            "roll": self._roll_as_json(roll) if roll else None,
            "claim": claim_as_json(self.claim) if self.claim else None,
            "busy": self.is_locked,
            "problem": self.problem,
        }

    def _roll_as_json(self, roll: Roll) -> dict[str, Any]:
        return {
            "release": roll.release,
            "who": roll.who,
            "since": clock(roll.since),
            "seen": clock(roll.seen or roll.since),
            "all": roll.every,
            "from": {str(number): release for number, release in roll.origin.items()},
            "done": sorted(roll.done),
            "half_moved": roll.half_moved,
            "failed": roll.failed,
            "interrupted": self.is_interrupted(roll),
        }

    def lines(self) -> list[str]:
        """The same for a person; what is as usual is not mentioned."""
        found = [self.problem] if self.problem else []
        if self.state.last_good:
            before = f", before it {self.state.good_before}" if self.state.good_before else ""
            found.append(f"Last good release: {self.state.last_good}{before}.")
        if self.claim:
            found.append(
                f"{self.claim.who} {claims.purpose(self.claim)} since {clock(self.claim.since)}, "
                f"at the longest until {clock(self.claim.until)}."
            )
        if roll := self.state.roll:
            found.append(self._roll_line(roll))
        return found

    def _roll_line(self, roll: Roll) -> str:
        begun = f"The roll to {roll.release} that {roll.who} began at {clock(roll.since)}"
        again = f"hecto-fleet roll --release {roll.release}{' --all' if roll.every else ''}"
        if not self.is_interrupted(roll):
            return f"{begun} is under way; moved so far: {len(roll.done)}."
        if roll.failed:
            return (
                f"{begun} failed and is not taken back in full. {roll.failed} This goes on with taking it back: {again}"
            )
        return (
            f"{begun} was interrupted at {clock(roll.seen or roll.since)} after {len(roll.done)} moved instances. "
            f"This goes on with it: {again}"
        )


def look(layout: Layout) -> Deploys:
    """Read what is known; what cannot be read is a problem to show, not one to fail on."""
    is_locked = not is_free(layout.lock)
    try:
        return Deploys(states.load(layout.fleet_state), is_locked)
    except StateError as error:
        return Deploys(State(), is_locked, str(error))


def claim_as_json(claim: Claim) -> dict[str, Any]:
    """A claim for scripts."""
    return {
        "who": claim.who,
        "run": claim.run,
        "release": claim.release,
        "what": claim.what,
        "since": clock(claim.since),
        "until": clock(claim.until),
    }
