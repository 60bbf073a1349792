"""Brings the fleet to N instances. What already runs is never touched: restarts belong to a roll."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from hecto.fleet import move, releases, snapshot, wait
from hecto.fleet.control import ask_all
from hecto.fleet.errors import NotReadyError, UsageError
from hecto.fleet.host import Host
from hecto.fleet.snapshot import Snapshot, due_as_json
from hecto.fleet.words import describe, spell


@dataclass
class Plan:
    """What a run does, or would do."""

    start: list[int] = field(default_factory=list)
    stop: list[int] = field(default_factory=list)
    resume: list[int] = field(default_factory=list)
    # Held by a roll that was cut short.
    admit: list[int] = field(default_factory=list)
    target: bool = False
    due: dict[int, list[str]] = field(default_factory=dict)

    @property
    def changed(self) -> bool:
        return bool(self.start or self.stop or self.resume or self.admit or self.target)

    def as_json(self) -> dict[str, Any]:
        return {
            "changed": self.changed,
            "started": self.start,
            "stopped": self.stop,
            "resumed": sorted(self.resume + self.admit),
            "roll_due": due_as_json(self.due),
        }


def plan(now: Snapshot) -> Plan:
    """What separates the fleet as it is from the fleet as wanted."""
    wanted = [i for i in now.instances.values() if i.wanted]
    return Plan(
        start=[i.number for i in wanted if not i.runs],
        # From the top, so that those that remain are always 1..N.
        stop=sorted((i.number for i in now.instances.values() if not i.wanted), reverse=True),
        # A drain whose run was killed: nobody else would ever take it back.
        resume=[i.number for i in wanted if i.state == "draining"],
        admit=[i.number for i in wanted if i.state == "held"],
        target=not now.target_active,
        due={number: reasons for number, reasons in now.due.items() if now.instances[number].wanted},
    )


def apply(host: Host, instances: int, release: str, *, check: bool = False) -> Plan:
    """Start what is missing on `release`, drain and stop what is too much; with `check` only say so."""
    if instances < 1:
        raise UsageError(f"A fleet has at least 1 instance, not {instances}. To stop all: systemctl stop hecto.target.")
    releases.require(host.layout, release)
    now = snapshot.take(host.layout, host.supervisor, release, range(1, instances + 1), with_memory=False)
    todo = plan(now)
    if check:
        return todo
    if todo.resume:
        ask_all(host.sockets(todo.resume), "resume")
        host.say(f"took {spell(todo.resume)} back from an interrupted drain")
    refused = _let_in(host, todo.admit, now)
    # Between two attempts systemd would go on with the release of the last one.
    host.supervisor.stop([number for number in todo.start if now.instances[number].state == "crashing"])
    start(host, todo.start, release)
    if todo.target:
        host.supervisor.start_target()
    # After the start: with more instances at work the drain is shorter.
    retire(host, todo.stop)
    others = [number for number in range(1, instances + 1) if number not in todo.start and number not in refused]
    late = wait.until_ready(host, others, None, fresh=False)
    if late or refused:
        raise NotReadyError(_unready(late, refused))
    return todo


def _let_in(host: Host, numbers: Sequence[int], now: Snapshot) -> dict[int, str]:
    """Let instances in that a roll left held, each after its check; returns what is wrong with those that stay out."""
    refused: dict[int, str] = {}
    for number in numbers:
        release = now.instances[number].release or ""
        found = move.look(host, [number], release) or move.admit(host, [number], release)
        if not found:
            host.say(f"let instance-{number} in, which an interrupted roll had left held")
        refused |= found
    return refused


def _unready(late: dict[int, str], refused: dict[int, str]) -> str:
    parts = []
    if refused:
        parts.append(
            f"An interrupted roll has left {spell(sorted(refused))} held, and: {describe(refused)}. They take no "
            "traffic and stay held. Go on with the roll or leave it: hecto-fleet roll --release ID."
        )
    if late:
        parts.append(
            f"Instances that ran before are not ready: {describe(late)}. They were left as they are. "
            f"Read journalctl -t hecto-{min(late)}; to restart one: systemctl restart hecto@{min(late)}."
        )
    return " ".join(parts)


def start(host: Host, numbers: Sequence[int], release: str) -> None:
    """Start instances a few at a time: many imports at once on few cores make each other miss their deadline."""
    for batch in batches(numbers, len(os.sched_getaffinity(0))):
        for number in batch:
            host.layout.unhold(number)
            host.layout.pin(number, release)
        host.supervisor.start(batch)
        if late := wait.until_ready(host, batch, release, resume=True):
            raise NotReadyError(
                f"Started {spell(batch)}, but {describe(late)}. The others serve as before. "
                f"Read journalctl -t hecto-{min(late)}, mend the cause and run this again."
            )
        host.say(f"started {spell(batch)}")


def retire(host: Host, numbers: Sequence[int]) -> None:
    """Drain instances, wait until their work is done, stop them for good."""
    if not numbers:
        return
    move.drain(host, numbers)
    host.supervisor.stop(numbers)
    for number in numbers:
        host.layout.unhold(number)
        host.layout.unpin(number)
    host.say(f"stopped {spell(numbers)}")


def batches(numbers: Sequence[int], cores: int) -> Iterator[Sequence[int]]:
    """Groups of as many as there are cores, at least two: one imports while another waits for its database."""
    size = max(2, cores)
    for first in range(0, len(numbers), size):
        yield numbers[first : first + size]
