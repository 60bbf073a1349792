"""Rolls the fleet to a release, a few instances at a time: a canary first, and back when it does not work out.

What a roll has done is in the state file before it is done. A roll that was killed, at whatever point, goes on with the
same command; one to another release takes its place.
"""

import time
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from hecto.fleet import claim as claims
from hecto.fleet import move as moving
from hecto.fleet import snapshot
from hecto.fleet import state as states
from hecto.fleet.apply import Say, describe, require_release, spell
from hecto.fleet.errors import NeedsAPersonError, NotReadyError, ReturnedError, UsageError
from hecto.fleet.layout import Layout
from hecto.fleet.snapshot import Instance
from hecto.fleet.state import Roll, State
from hecto.fleet.supervisor import Supervisor
from hecto.fleet.wait import Patience

# The part of the fleet that may be away at a time: the others carry its work without noticing.
SHARE = 10


@dataclass
class Rolled:
    """What a roll did, or would do."""

    release: str
    batches: list[list[int]] = field(default_factory=list)
    moved: list[int] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        return {
            "changed": bool(self.moved or self.batches),
            "release": self.release,
            "batches": self.batches,
            "moved": self.moved,
        }


@dataclass(frozen=True)
class Order:
    """What is wanted of a roll."""

    release: str
    who: str
    run: str = ""
    every: bool = False
    # Only these, as a playbook does it batch by batch; all for which a move is due when it is None.
    only: Collection[int] | None = None


def roll(
    layout: Layout, supervisor: Supervisor, order: Order, *, patience: Patience, say: Say, check: bool = False
) -> Rolled:
    """Move each instance for which a move is due (`every`: all of them); with `check` only say which, in what batches.

    Raises ReturnedError when a batch failed and everything is back on what it ran before, NeedsAPersonError when it is
    not, UsageError for a release or an instance that is not here.
    """
    require_release(layout, order.release)
    state = states.load(layout.fleet_state)
    claims.require(state.claim, order.who, order.run)
    now = snapshot.take(layout, supervisor, order.release, with_memory=False)
    record = _resumed(state, order, say)
    due = _due(now.instances.values(), order, record)
    if order.only is not None:
        if unknown := set(order.only) - {i.number for i in now.instances.values() if i.wanted}:
            raise UsageError(f"There is no {spell(sorted(unknown))} on this host. Nothing was changed.")
        due = [number for number in due if number in order.only]
    fleet = [i.number for i in now.instances.values() if i.wanted]
    planned = batches(due, len(fleet), canary=not record.done)
    if check:
        return Rolled(order.release, planned)
    done = Rolled(order.release)
    for batch in planned:
        _move_batch(layout, supervisor, state, record, order, now.instances, batch, patience, say)
        done.moved += batch
    if order.only is None:
        finish_state(layout, state, order.release)
    return done


def finish_state(layout: Layout, state: State, release: str) -> None:
    """Remember that this host runs a release and runs it well."""
    if state.last_good != release or state.roll:
        state.last_good, state.roll = release, None
        states.save(layout.fleet_state, state)


def batches(numbers: Sequence[int], fleet: int, *, canary: bool) -> list[list[int]]:
    """Groups of at most a tenth of the fleet and at least one instance; the first is a single one, the canary."""
    size = max(1, fleet // SHARE)
    first = [list(numbers[:1])] if canary and numbers else []
    rest = numbers[len(first) :]
    return first + [list(rest[start : start + size]) for start in range(0, len(rest), size)]


def _resumed(state: State, order: Order, say: Say) -> Roll:
    """The record of this roll: a new one, or that of a roll to the same goal that was cut short."""
    record = state.roll
    if record and (record.release, record.every) == (order.release, order.every):
        if order.only is None:
            say(f"going on with the roll to {record.release} that {record.who} began at {claims.clock(record.since)}")
        return record
    if record:
        say(f"the roll to {record.release} that {record.who} began at {claims.clock(record.since)} is given up")
    state.roll = Roll(order.release, order.who, time.time(), order.every)
    return state.roll


def _due(instances: Iterable[Instance], order: Order, record: Roll) -> list[int]:
    """What has to be moved: what runs something old or would after a crash, and what a roll has left half-done."""

    def must_move(i: Instance) -> bool:
        half_done = i.pin != order.release or i.held or i.state in ("draining", "stopped", "failed")
        return bool(i.roll_due) or half_done or (order.every and i.number not in record.done)

    return [i.number for i in instances if i.wanted and must_move(i)]


def _move_batch(
    layout: Layout,
    supervisor: Supervisor,
    state: State,
    record: Roll,
    order: Order,
    instances: dict[int, Instance],
    batch: list[int],
    patience: Patience,
    say: Say,
) -> None:
    is_canary = not record.done
    for number in batch:
        # Of an instance that was moved half-way the first look counts.
        record.origin.setdefault(number, instances[number].release or instances[number].pin)
    if state.claim and (state.claim.who, state.claim.run) == (order.who, order.run):
        state.claim.until = max(state.claim.until, time.time() + patience.ready + claims.STEP_SECONDS)
    states.save(layout.fleet_state, state)
    failed = moving.move(layout, supervisor, batch, order.release, patience, say)
    others = [number for number, i in instances.items() if i.wanted and number not in batch]
    if not failed and is_canary and (trouble := moving.watch(layout, batch, others, patience.watch)):
        failed = dict.fromkeys(batch, trouble)
    if failed:
        _go_back(layout, supervisor, state, record, failed, patience, say)
    record.done += [number for number in batch if number not in record.done]
    states.save(layout.fleet_state, state)


def _go_back(
    layout: Layout,
    supervisor: Supervisor,
    state: State,
    record: Roll,
    failed: dict[int, str],
    patience: Patience,
    say: Say,
) -> None:
    """Return the failed batch, then all that this roll had moved, to what each ran before; raises in every case."""
    first = min(failed)
    why = f"On release {record.release} {describe(failed)}."
    # Of one that ran and was found wanting, the journal says nothing that this does not.
    if failed[first].startswith(("ended", "control socket")) and (lines := supervisor.journal(first)):
        why += f"\n{lines}\n"
    say(why)
    away = {n: back for n, back in record.origin.items() if back != record.release}
    stay = sorted(set(failed) - away.keys())
    late: dict[int, str] = {}
    for release in sorted({back for back in away.values() if back}):
        numbers = sorted((n for n, back in away.items() if back == release), key=lambda n: (n not in failed, n))
        for batch in batches(numbers, len(numbers), canary=False):
            late |= moving.give_back(layout, supervisor, batch, release, patience, say)
    if stay:
        # A restart on the same release: there is nothing else to go back to, so they get another chance as they are.
        supervisor.start(stay)
        late |= {number: failed[number] for number in stay}
    advice = f"Read journalctl -t hecto-{first}, mend the cause and run this again."
    state.roll = None
    states.save(layout.fleet_state, state)
    if late and not away:
        raise NotReadyError(f"{why} It did not come back, and there is no other release to go back to. {advice}")
    if late:
        raise NeedsAPersonError(f"{why} Going back, {describe(late)}. The others serve as before. {advice}")
    raise ReturnedError(f"{why} Everything is back on what it ran before and serves. {advice}")
