"""The fleet for a person at a terminal."""

from dataclasses import asdict, dataclass
from typing import Any

from hecto.fleet.claim import clock
from hecto.fleet.snapshot import Instance, Snapshot
from hecto.fleet.state import State

_HEAD = ("instance", "state", "release", "uptime", "in flight", "websockets", "memory", "restarts")


def render(now: Snapshot) -> str:
    """All instances side by side, then what needs a person."""
    rows = [_HEAD, *(_row(instance) for _, instance in sorted(now.instances.items()))]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEAD))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join([*lines, "", *_notes(now)])


def _row(instance: Instance) -> tuple[str, ...]:
    return (
        instance.name,
        instance.state + ("" if instance.wanted else " (surplus)"),
        instance.release or instance.pin or "-",
        "-" if instance.uptime is None else duration(instance.uptime),
        "-" if instance.in_flight is None else str(instance.in_flight),
        "-" if instance.websockets is None else str(instance.websockets),
        "-" if instance.memory is None else f"{instance.memory / 2**20:.0f} MB",
        str(instance.restarts),
    )


def _notes(now: Snapshot) -> list[str]:
    wanted = [instance for instance in now.instances.values() if instance.wanted]
    ready = sum(instance.state == "ready" for instance in wanted)
    total = sum(instance.memory or 0 for instance in now.instances.values())
    notes = [f"{ready} of {len(wanted)} instances ready, {total / 2**20:.0f} MB, release {now.release or 'none'}"]
    notes += [f"{i.name}: {i.problem}" for _, i in sorted(now.instances.items()) if i.problem]
    if now.due:
        notes.append(roll_due(now.due))
    return notes


def roll_due(due: dict[int, list[str]]) -> str:
    """One line that says how many instances run something old, what, and what to do."""
    reasons = sorted({reason for found in due.values() for reason in found})
    count = len(due)
    return (
        f"A roll is due: {count} instance{'s run' if count > 1 else ' runs'} with something old "
        f"({', '.join(reasons)}). "
        "They serve as before; hecto-fleet roll moves them when it suits you."
    )


@dataclass(frozen=True)
class DeployNotes:
    """What a person should know beside the instances themselves."""

    state: State
    is_rolling: bool

    def as_json(self) -> dict[str, Any]:
        """Keys for the answer of status."""
        roll, claim = self.state.roll, self.state.claim
        return {
            "last_good": self.state.last_good,
            "roll": None if roll is None else asdict(roll) | {"interrupted": not self.is_rolling},
            "claim": asdict(claim) if claim and claim.holds else None,
        }

    def lines(self) -> list[str]:
        """The same for a person; nothing where there is nothing special."""
        found = []
        if (claim := self.state.claim) and claim.holds:
            found.append(f"{claim.who} is deploying since {clock(claim.since)}, at most until {clock(claim.until)}.")
        if roll := self.state.roll:
            how = "is under way" if self.is_rolling else "stands still; the same command goes on with it"
            found.append(f"A roll to {roll.release} that {roll.who} began at {clock(roll.since)} {how}.")
        return found


def deploy_notes(state: State, *, is_rolling: bool) -> DeployNotes:
    """What is to be said of rolls and deploys."""
    return DeployNotes(state, is_rolling)


def history_line(line: dict[str, Any]) -> str:
    """One line of the history: when, who, what, for how long, and how it went."""
    what = " ".join(str(part) for part in (line.get("command"), line.get("release") or "") if part)
    result = str(line.get("result", "")).splitlines()[0][:100]
    return f"{line.get('time', '')}  {line.get('who', ''):<20}  {what:<24}  {line.get('seconds', 0):>6} s  {result}"


def duration(seconds: float) -> str:
    """The two largest parts of a duration: 3d 4h, 2h 5m, 7m 1s, 12s."""
    rest = int(seconds)
    parts: list[str] = []
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)):
        amount, rest = divmod(rest, size)
        if amount or (unit == "s" and not parts):
            parts.append(f"{amount}{unit}")
    return " ".join(parts[:2])
