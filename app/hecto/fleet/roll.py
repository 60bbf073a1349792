"""Rolls the fleet to a release, a few instances at a time: a canary first, and back when it does not work out.

What a roll does is in the state file before it is done. One that was killed, at whatever point, goes on with the same
command; one to another release takes its place.
"""

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn

from hecto.fleet import back, canary, claim, move, plan, releases, snapshot, wait
from hecto.fleet import state as states
from hecto.fleet.errors import NotReadyError, ReturnedError, StateError
from hecto.fleet.host import Host
from hecto.fleet.plan import Order
from hecto.fleet.snapshot import Instance, Snapshot
from hecto.fleet.state import State
from hecto.fleet.words import clock, describe, run


@dataclass
class Rolled:
    """What a roll did, or would do."""

    release: str
    batches: list[list[int]] = field(default_factory=list)
    moved: list[int] = field(default_factory=list)
    # It went on where another had been cut short.
    resumed: bool = False

    def as_json(self) -> dict[str, Any]:
        return {
            "changed": bool(self.batches),
            "release": self.release,
            "batches": self.batches,
            "moved": self.moved,
            "resumed": self.resumed,
        }


def roll(host: Host, order: Order, *, check: bool = False) -> Rolled:
    """Move each instance for which a move is due; with `check` only say which, in what batches.

    Raises ReturnedError when a batch failed and everything is back on what it ran before, NeedsAPersonError when it is
    not, LockedError while another deploy has the host, UsageError for what is not here.
    """
    releases.require(host.layout, order.release)
    state = states.load(host.layout.fleet_state)
    if not check:
        claim.require(state, order.who, order.run)
    now = snapshot.take(host.layout, host.supervisor, order.release, with_memory=False)
    return Roller(host, state, order, now).run(check=check)


class Roller:
    """One run of the roller."""

    def __init__(self, host: Host, state: State, order: Order, now: Snapshot) -> None:
        self.host = host
        self.state = state
        self.order = order
        self.now = now
        self.before = state.roll
        self.record = plan.record(state.roll, order, time.time())

    def run(self, *, check: bool) -> Rolled:
        """Go through the batches; raises ReturnedError or NeedsAPersonError when one fails."""
        wanted = list(self._wanted(self.now))
        due = plan.due(wanted, self.order, self.record)
        numbers = plan.chosen(wanted, self.order, due)
        size = plan.batch_size(len(wanted), self.order.size)
        batches = plan.batches(numbers, size, canary=not self.record.done)
        done = Rolled(self.order.release, batches, resumed=self.record is self.before)
        if check:
            return done
        self._introduce()
        self._learn(wanted)
        self.state.roll = self.record
        if self.record.failed:
            self._go_back(self.record.failed, {})
        for batch in batches:
            self._move(batch)
            done.moved += batch
        if self.order.only is None and wanted:
            self._finish()
        return done

    def _introduce(self) -> None:
        if self.before is None or (self.record is self.before and self.order.only is not None):
            return
        began = f"the roll to {self.before.release} that {self.before.who} began at {clock(self.before.since)}"
        self.host.say(f"going on with {began}" if self.record is self.before else f"giving up {began}")

    def _learn(self, wanted: Sequence[Instance]) -> None:
        """A host that has never rolled: what all its instances serve with is good."""
        found = {instance.release if instance.state == "ready" else None for instance in wanted}
        if self.state.last_good is None and len(found) == 1:
            self.state.last_good = found.pop()

    def _move(self, batch: Sequence[int]) -> None:
        is_canary = not self.record.done
        instances = self.now.instances
        started = [n for n in batch if plan.is_started(instances[n], self.order, self.record)]
        for number in batch:
            # Of one that was moved half-way the first look counts.
            self.record.origin.setdefault(number, self._runs(instances[number]))
        self._save()
        failed = move.move(self.host, batch, self.order.release, started=started)
        if not failed and is_canary:
            others = [i.number for i in self._wanted(self.now) if i.number not in batch]
            trouble = canary.watch(self.host, batch, others, self.order.release)
            failed = dict.fromkeys(batch, trouble) if trouble else {}
        if failed:
            self._go_back(f"On release {self.order.release} {describe(failed)}.", failed)
        self.record.done += batch
        self._save()
        self.host.say(f"{run(batch)} {self.order.release}{', the canary' if is_canary else ''}")

    def _runs(self, instance: Instance) -> str | None:
        return self.record.carried.get(instance.number) or instance.release or instance.pin or self.state.last_good

    def _save(self) -> None:
        self.record.seen = time.time()
        patience = self.host.patience
        # The longest that one step may take: there, and back again.
        claim.extend(self.state, self.order.who, self.order.run, 2 * (patience.ready + patience.drain))
        states.save(self.host.layout.fleet_state, self.state)

    def _finish(self) -> None:
        """Every wanted instance is on the release: it is the one to go back to from now on. Raises NotReadyError."""
        numbers = [instance.number for instance in self._wanted(self.now)]
        if late := wait.until_ready(self.host, numbers, self.order.release, fresh=False):
            raise NotReadyError(
                f"Every instance is moved, but {describe(late)}. The others serve. "
                f"Read journalctl -t hecto-{min(late)}; when all are ready, run this again: it remembers the release."
            )
        # Nothing was moved and no roll had begun: there is none to end.
        self.state.roll = self.before or (self.record if self.record.origin else None)
        if self.state.remember(self.order.release):
            states.save(self.host.layout.fleet_state, self.state)

    def _go_back(self, why: str, failed: Mapping[int, str]) -> NoReturn:
        """Return everything to what it ran before; raises ReturnedError or NeedsAPersonError."""
        self.record.failed = why
        self._note()
        error = back.go_back(self.host, self.record, why, failed)
        if isinstance(error, ReturnedError):
            # Nothing is left to go on with.
            self.state.roll = None
            self._note()
        raise error

    def _note(self) -> None:
        """Save what is good to know, but not worth to stop half-way back for."""
        try:
            self._save()
        except StateError as error:
            self.host.say(str(error))

    def _wanted(self, now: Snapshot) -> Iterable[Instance]:
        return (instance for instance in now.instances.values() if instance.wanted)
