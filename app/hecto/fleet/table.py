"""The fleet for a person at a terminal."""

from typing import Any

from hecto.fleet.snapshot import Instance, Snapshot
from hecto.fleet.words import duration

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
        "They serve as before; run hecto-fleet roll when it suits you."
    )


def history_line(line: dict[str, Any]) -> str:
    """One line of the history: when, who, which step of what, for how long, and how it went."""
    step = " ".join(str(part) for part in (line.get("command"), line.get("release")) if part)
    return (
        f"{line.get('time', '')}  {line.get('who', ''):<20}  {line.get('what', ''):<8}  {step:<24}  "
        f"{line.get('seconds', 0):>6} s  {line.get('result', '')}"
    )
