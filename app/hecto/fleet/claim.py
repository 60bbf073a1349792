"""One deploy at a time on a host, from its first step to its last.

The lock keeps single commands apart; a deploy is many of them, with pauses in which another could come in between.
"""

import time

from hecto.fleet import state as states
from hecto.fleet.errors import LockedError
from hecto.fleet.layout import Layout
from hecto.fleet.state import Claim, State
from hecto.fleet.words import clock

# Each step holds the host for at least this long: more than any pause between two steps, and little to wait for after a
# control machine that was switched off.
STEP = 120.0


def take(
    layout: Layout,
    who: str,
    run: str,
    release: str | None,
    seconds: float,
    *,
    what: str | None = None,
    over: bool = False,
) -> tuple[Claim, Claim | None]:
    """Take the host, or hold it for longer; returns the claim and the one that was taken over.

    release: that of a deploy; what: what it is for where it is none. Raises LockedError while another holds it, unless
    it is to be taken `over`.
    """
    state = states.load(layout.fleet_state)
    if not over:
        require(state, who, run)
    now = time.time()
    before = state.claim if state.claim and state.claim.holds else None
    mine = before if before and is_of(before, who, run) else None
    until = max(now + seconds, mine.until if mine else 0.0)
    state.claim = Claim(who, run, release, mine.since if mine else now, until, None if release else what)
    states.save(layout.fleet_state, state)
    return state.claim, before if before is not mine else None


def give_back(layout: Layout, who: str, run: str) -> Claim | None:
    """End the claim; returns it, or nothing when there was none of ours. Another's stays."""
    state = states.load(layout.fleet_state)
    if state.claim is None or not is_of(state.claim, who, run):
        return None
    ended, state.claim = state.claim, None
    states.save(layout.fleet_state, state)
    return ended


def is_of(claim: Claim, who: str, run: str) -> bool:
    """Whether a claim belongs to this deploy."""
    return (claim.who, claim.run) == (who, run)


def require(state: State, who: str, run: str) -> None:
    """Raise LockedError while another holds the host."""
    held = state.claim
    if held is None or not held.holds or is_of(held, who, run):
        return
    raise LockedError(
        f"{held.who} {purpose(held)} since {clock(held.since)}. Nothing was changed. Wait for its end; "
        f"if it was interrupted, the host is free at {clock(held.until)} by itself, or at once by --take-over "
        "(hecto-fleet claim --take-over).",
        who=held.who,
        release=held.release,
        what=held.what,
        since=clock(held.since),
        until=clock(held.until),
    )


def purpose(claim: Claim) -> str:
    """What its owner does with the host, in words."""
    if claim.what:
        return f"has this host for a {claim.what}"
    return f"is deploying release {claim.release} to this host" if claim.release else "is deploying to this host"


def extend(state: State, who: str, run: str, seconds: float) -> None:
    """Hold the host until a step of `seconds` has surely ended, where it is ours; the caller saves."""
    if state.claim and is_of(state.claim, who, run):
        state.claim.until = max(state.claim.until, time.time() + seconds + STEP)
