"""How far a roll is, in Prometheus' text format. The node exporter of the host reads the file.

It is written with the state and says what that says: a roll that was killed shows by a last step that grows old.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hecto.fleet.state import State


def render(state: State) -> str:
    """The metrics of a state. Without a roll under way its times are 0."""
    roll, claim = state.roll, state.claim
    return "".join(
        f"# HELP {name} {about}\n# TYPE {name} gauge\n{name} {value:.0f}\n"
        for name, about, value in (
            ("hecto_roll_under_way", "1 from the first instance that a roll moves to the last", roll is not None),
            ("hecto_roll_failed", "1 while a roll that failed has not got everything back", bool(roll and roll.failed)),
            ("hecto_roll_began_timestamp_seconds", "When the roll under way began", roll.since if roll else 0),
            ("hecto_roll_last_step_timestamp_seconds", "When it last did something", roll.seen if roll else 0),
            ("hecto_roll_moved_instances", "Instances that it has moved", len(roll.done) if roll else 0),
            ("hecto_claim_until_timestamp_seconds", "When the claim of a deploy ends", claim.until if claim else 0),
        )
    )
