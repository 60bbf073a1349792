"""One deploy at a time on a host, from its first step to its last."""

import time

from hecto.fleet import state as states
from hecto.fleet.errors import LockedError
from hecto.fleet.layout import Layout
from hecto.fleet.state import Claim

# Each step of a deploy holds the host for this long at least: more than the pause between two steps, and little to wait
# for after a control machine that was switched off.
STEP_SECONDS = 60.0


def claim(layout: Layout, who: str, run: str, release: str | None, seconds: float, *, take_over: bool = False) -> Claim:
    """Take the host for a deploy, or hold it for longer; raises LockedError while somebody else has it."""
    state = states.load(layout.fleet_state)
    if not take_over:
        require(state.claim, who, run)
    now = time.time()
    mine = state.claim if state.claim and (state.claim.who, state.claim.run) == (who, run) else None
    until = max(now + seconds, mine.until if mine and mine.holds else 0.0)
    state.claim = Claim(who, run, release, mine.since if mine and mine.holds else now, until)
    states.save(layout.fleet_state, state)
    return state.claim


def unclaim(layout: Layout, who: str, run: str) -> bool:
    """Give the host back; returns whether it was ours. Somebody else's claim stays."""
    state = states.load(layout.fleet_state)
    if state.claim is None or (state.claim.who, state.claim.run) != (who, run):
        return False
    state.claim = None
    states.save(layout.fleet_state, state)
    return True


def require(held: Claim | None, who: str, run: str) -> None:
    """Raise LockedError when somebody else has the host."""
    if held is None or not held.holds or (held.who, held.run) == (who, run):
        return
    goal = f" to {held.release}" if held.release else ""
    raise LockedError(
        f"{held.who} is deploying{goal} since {clock(held.since)}. Nothing was changed. Wait for its end; if it was "
        f"interrupted, the host is free at {clock(held.until)}, or at once with --take-over."
    )


def clock(moment: float) -> str:
    """A moment for a person, with its time zone."""
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(moment))
