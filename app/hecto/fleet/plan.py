"""Which instances a roll moves, and in what batches: decided from what is seen and remembered, without touching it."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from hecto.fleet.errors import UsageError
from hecto.fleet.snapshot import Instance
from hecto.fleet.state import Roll
from hecto.fleet.words import spell

# The part of the fleet that may be away at a time: the others carry its work without noticing.
SHARE = 10
# What takes no traffic and will not by itself: a move brings it back.
LOST = frozenset({"held", "draining", "stopped", "stopping", "failed", "crashing", "hung"})


@dataclass(frozen=True)
class Order:
    """What is wanted of a roll."""

    release: str
    who: str
    # Tells one deploy of the same person from another.
    run: str = ""
    every: bool = False
    # Only these, as a playbook does it batch by batch; all for which a move is due when it is None.
    only: Collection[int] | None = None
    # Smaller batches than a tenth of the fleet.
    size: int | None = None


def record(before: Roll | None, order: Order, now: float) -> Roll:
    """This roll's record: that of a roll to the same goal that was cut short, or a new one."""
    if before and (before.release, before.every) == (order.release, order.every):
        return before
    # From a roll that is given up: what its instances ran before it is what they go back to. Where that is the goal,
    # those that it had moved go back to what they run; what it had half-moved never served.
    half = before.half_moved if before else []
    known = {**before.carried, **before.origin} if before else {}
    carried = {n: release for n, release in known.items() if release != order.release or n in half}
    return Roll(order.release, order.who, since=now, every=order.every, carried=carried)


def due(instances: Iterable[Instance], order: Order, roll: Roll) -> list[int]:
    """What has to be moved, what a run has left half-moved first."""
    half = roll.half_moved
    numbers = sorted(i.number for i in instances if i.wanted and (i.number in half or _is_due(i, order, roll)))
    return sorted(numbers, key=lambda number: number not in half)


def _is_due(instance: Instance, order: Order, roll: Roll) -> bool:
    if instance.roll_due or instance.pin != order.release or instance.state in LOST:
        return True
    # One that was started since then, by whomever, has everything new.
    return order.every and instance.number not in roll.done and instance.started < roll.since


def is_started(instance: Instance, order: Order, roll: Roll) -> bool:
    """Whether a half-moved instance is up on the release, so that it only has to be looked at and let in."""
    return (
        instance.number in roll.half_moved
        and instance.state in ("held", "ready")
        and instance.release == instance.pin == order.release
        and not instance.roll_due
        and instance.started >= roll.since
    )


def chosen(instances: Iterable[Instance], order: Order, numbers: Sequence[int]) -> list[int]:
    """Those of `numbers` that the order names; raises UsageError when it names one that is not there."""
    if order.only is None:
        return list(numbers)
    if unknown := sorted(set(order.only) - {i.number for i in instances if i.wanted}):
        raise UsageError(
            f"This host has no {spell(unknown)}. Nothing was changed. See hecto-fleet status for those that it has."
        )
    return [number for number in numbers if number in order.only]


def batch_size(fleet: int, wish: int | None = None) -> int:
    """A tenth of the fleet and at least one; raises UsageError for a wish that is more."""
    most = max(1, fleet // SHARE)
    if wish is not None and not 1 <= wish <= most:
        raise UsageError(
            f"A batch of {wish} is not possible: of {fleet} instances at least 1 and at most {most}, a tenth, may be "
            "away at a time. Nothing was changed. Leave --batch out, or name a number in between."
        )
    return wish or most


def batches(numbers: Sequence[int], size: int, *, canary: bool) -> list[list[int]]:
    """Groups of at most `size`; with `canary` the first is a single instance."""
    first = [list(numbers[:1])] if canary and numbers else []
    rest = numbers[len(first) :]
    return first + [list(rest[start : start + size]) for start in range(0, len(rest), size)]
