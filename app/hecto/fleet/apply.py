"""Brings the fleet to N instances. What already runs is never touched: restarts belong to a roll."""

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from hecto.fleet import snapshot, wait
from hecto.fleet.control import ask_all, check_all
from hecto.fleet.errors import NotReadyError, UsageError
from hecto.fleet.layout import RELEASE_ID, Layout
from hecto.fleet.snapshot import Snapshot, due_as_json
from hecto.fleet.supervisor import Supervisor
from hecto.fleet.wait import Patience

Say = Callable[[str], None]


@dataclass
class Plan:
    """What a run does, or would do."""

    start: list[int] = field(default_factory=list)
    stop: list[int] = field(default_factory=list)
    resume: list[int] = field(default_factory=list)
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
        # A roll that was killed before it had looked at them.
        admit=[i.number for i in wanted if i.held and i.runs],
        target=not now.target_active,
        due={number: reasons for number, reasons in now.due.items() if now.instances[number].wanted},
    )


def apply(
    layout: Layout,
    supervisor: Supervisor,
    instances: int,
    release: str,
    *,
    patience: Patience,
    say: Say,
    check: bool = False,
) -> Plan:
    """Start what is missing on `release`, drain and stop what is too much; with `check` only say so."""
    if instances < 1:
        raise UsageError(f"A fleet has at least 1 instance, not {instances}. To stop all: systemctl stop hecto.target.")
    require_release(layout, release)
    now = snapshot.take(layout, supervisor, release, range(1, instances + 1), with_memory=False)
    todo = plan(now)
    if check:
        return todo
    if todo.resume:
        ask_all({number: layout.control(number) for number in todo.resume}, "resume")
        say(f"took {spell(todo.resume)} back from an interrupted drain")
    if todo.admit:
        _admit(layout, supervisor, todo.admit, patience, say)
    # Between two attempts systemd would go on with the release of the last one.
    supervisor.stop([number for number in todo.start if now.instances[number].state == "crashing"])
    start(layout, supervisor, todo.start, release, patience, say)
    if todo.target:
        supervisor.start_target()
    # After the start: with more instances at work the drain is shorter.
    retire(layout, supervisor, todo.stop, patience, say)
    others = [number for number in range(1, instances + 1) if number not in todo.start]
    if late := wait.until_ready(layout, supervisor, others, None, patience.ready):
        raise NotReadyError(
            f"Instances that ran before are not ready: {describe(late)}. They were left as they are. "
            f"Read journalctl -t hecto-{min(late)}; to restart one: systemctl restart hecto@{min(late)}."
        )
    return todo


def _admit(layout: Layout, supervisor: Supervisor, numbers: Sequence[int], patience: Patience, say: Say) -> None:
    """Let instances in that a roll left before their check; raises NotReadyError for those that do not pass it."""
    failed = wait.until_ready(layout, supervisor, numbers, None, patience.ready, held=True)
    failed |= check_all({number: layout.control(number) for number in numbers if number not in failed})
    fine = [number for number in numbers if number not in failed]
    for number in fine:
        layout.hold(number).unlink(missing_ok=True)
    ask_all({number: layout.control(number) for number in fine}, "resume")
    if fine:
        say(f"let {spell(fine)} in, which an interrupted roll had held")
    if failed:
        raise NotReadyError(
            f"An interrupted roll left {describe(failed)}. They take no requests, the others serve as before. "
            "Roll to the release that the others run: hecto-fleet roll --release ID."
        )


def start(
    layout: Layout, supervisor: Supervisor, numbers: Sequence[int], release: str, patience: Patience, say: Say
) -> None:
    """Start instances a few at a time: many imports at once on few cores make each other miss their deadline."""
    for batch in batches(numbers, len(os.sched_getaffinity(0))):
        for number in batch:
            layout.hold(number).unlink(missing_ok=True)
            layout.pin(number, release)
        supervisor.start(batch)
        late = wait.until_ready(layout, supervisor, batch, release, patience.ready)
        if late:
            raise NotReadyError(
                f"Started {spell(batch)}, but {describe(late)}. The others serve as before. "
                f"Read journalctl -t hecto-{min(late)}, mend the cause and run this again."
            )
        say(f"started {spell(batch)}")


def retire(layout: Layout, supervisor: Supervisor, numbers: Sequence[int], patience: Patience, say: Say) -> None:
    """Drain instances, wait until their work is done, stop them for good."""
    if not numbers:
        return
    drain(layout, numbers, patience, say)
    supervisor.stop(numbers)
    for number in numbers:
        layout.unpin(number)
    say(f"stopped {spell(numbers)}")


def drain(layout: Layout, numbers: Sequence[int], patience: Patience, say: Say) -> None:
    """Ask instances to refuse new work and wait until they have finished their own."""
    # One that does not answer cannot be waited for: its requests go elsewhere as soon as its sockets close.
    ask_all({number: layout.control(number) for number in numbers}, "drain")
    if busy := wait.until_idle(layout, numbers, patience):
        say(f"after {patience.drain:g} s {describe(busy)} left; going on, nginx gives these to other instances")


def batches(numbers: Sequence[int], cores: int) -> Iterator[Sequence[int]]:
    """Groups of as many as there are cores, at least two: one imports while another waits for its database."""
    size = max(2, cores)
    for first in range(0, len(numbers), size):
        yield numbers[first : first + size]


def require_release(layout: Layout, release: str) -> None:
    """Refuse a release that is not here: an instance pinned to it would never start."""
    if not RELEASE_ID.fullmatch(release):
        raise UsageError(f"{release!r} is no release id: one is 12 hexadecimal digits. See: ls {layout.releases}")
    if not (layout.release(release) / "release.json").is_file():
        raise UsageError(
            f"Release {release} is not on this host (nothing in {layout.release(release)}). "
            "Run the playbook site.yml, which brings it, or name one of: " + (", ".join(installed(layout)) or "none")
        )


def installed(layout: Layout) -> list[str]:
    """Ids of the complete releases on this host."""
    return sorted(path.parent.name for path in layout.releases.glob("*/release.json"))


def spell(numbers: Sequence[int]) -> str:
    """Numbers for a person: instance-1, or instances 1-4 7."""
    if len(numbers) == 1:
        return f"instance-{numbers[0]}"
    runs: list[list[int]] = []
    for number in sorted(numbers):
        if runs and runs[-1][-1] == number - 1:
            runs[-1][1:] = [number]
        else:
            runs.append([number])
    return "instances " + " ".join("-".join(map(str, run)) for run in runs)


def describe(found: dict[int, str]) -> str:
    """What each of some instances says."""
    return ", ".join(f"instance-{number} {text}" for number, text in sorted(found.items()))
