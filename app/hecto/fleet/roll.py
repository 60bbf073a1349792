"""Rolls the fleet to a release, a few instances at a time: a canary first, and back when it does not work out.

What a roll does is in the state file before it is done. One that was killed, at whatever point, goes on with the same
command; one to another release takes its place.
"""

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hecto.fleet import canary, claim, move, plan, releases, snapshot, wait
from hecto.fleet import state as states
from hecto.fleet.errors import NeedsAPersonError, NotReadyError, ReturnedError, StateError
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
        self.state.roll = self.record
        if self.record.failed:
            self._go_back(self.record.failed, {})
        for batch in batches:
            self._move(batch)
            done.moved += batch
        if self.order.only is None:
            self._finish()
        return done

    def _introduce(self) -> None:
        if self.before is None or (self.record is self.before and self.order.only is not None):
            return
        began = f"the roll to {self.before.release} that {self.before.who} began at {clock(self.before.since)}"
        self.host.say(f"going on with {began}" if self.record is self.before else f"giving up {began}")

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
        if self.state.last_good != self.order.release or self.before or self.record.origin:
            self.state.last_good, self.state.roll = self.order.release, None
            states.save(self.host.layout.fleet_state, self.state)

    def _go_back(self, why: str, failed: Mapping[int, str]) -> None:
        """Return the failed batch at once, then all that this roll has moved, to what each ran before; raises."""
        journal = {n: self.host.supervisor.journal(n, self.record.since) for n in sorted(failed)[:3]}
        quotes = "".join(f"\n  hecto-{number}: {line}" for number, lines in journal.items() for line in lines)
        self.host.say(f"{why} Going back.{quotes}")
        self.record.failed = why
        self._note()
        now = snapshot.take(self.host.layout, self.host.supervisor, self.order.release, with_memory=False)
        away = {n: back for n, back in self.record.origin.items() if not _is_back(now.instances.get(n), back)}
        late: dict[int, str] = {}
        for numbers in self._ways_back(away, len(list(self._wanted(now)))):
            late |= self._give_back(numbers, away[numbers[0]])
        first = min(failed or away, default="NUMBER")
        advice = f"Read journalctl -t hecto-{first}, mend the cause and run this again."
        details = {
            "changed": True,
            "release": self.order.release,
            "failed": {str(number): text for number, text in failed.items()},
            "journal": {str(number): lines for number, lines in journal.items()},
            "returned": sorted(away.keys() - late.keys()),
            "not_returned": {str(number): text for number, text in late.items()},
        }
        if late:
            raise NeedsAPersonError(
                f"{why} Not everything could be taken back: {describe(late)}. The others serve. The same command "
                f"tries again to go back; hecto-fleet roll --release ID goes elsewhere. {advice}{quotes}",
                **details,
            )
        self.state.roll = None
        self._note()
        raise ReturnedError(f"{why} Everything is back on what it ran before and serves. {advice}{quotes}", **details)

    def _ways_back(self, away: Mapping[int, str | None], fleet: int) -> Iterable[Sequence[int]]:
        """Batches that have one release to go to: what was half-moved at once, it takes no traffic anyway."""
        half = self.record.half_moved
        for back in sorted(set(away.values()), key=str):
            numbers = sorted(number for number in away if away[number] == back)
            if first := [number for number in numbers if number in half]:
                yield first
            rest = [number for number in numbers if number not in half]
            yield from plan.batches(rest, plan.batch_size(fleet), canary=False)

    def _give_back(self, numbers: Sequence[int], back: str | None) -> dict[int, str]:
        if back is None:
            # They ran nothing before.
            self.host.supervisor.stop(numbers)
            for number in numbers:
                self.host.layout.unhold(number)
                self.host.layout.unpin(number)
            return {}
        if back not in releases.installed(self.host.layout):
            return dict.fromkeys(numbers, f"ran release {back}, which is not on this host any more")
        late = move.give_back(self.host, numbers, back)
        if returned := [number for number in numbers if number not in late]:
            self.host.say(f"{run(returned)} {back} again")
        return late

    def _note(self) -> None:
        """Save what is good to know, but not worth to stop half-way back for."""
        try:
            self._save()
        except StateError as error:
            self.host.say(str(error))

    def _wanted(self, now: Snapshot) -> Iterable[Instance]:
        return (instance for instance in now.instances.values() if instance.wanted)


def _is_back(instance: Instance | None, release: str | None) -> bool:
    if instance is None:
        return release is None
    return instance.state == "ready" and instance.release == instance.pin == release
