"""Moves running instances, one after another, to a release and to the host's present settings."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from hecto.fleet import snapshot, wait
from hecto.fleet.apply import Say, describe, drain, require_release
from hecto.fleet.errors import NotReadyError
from hecto.fleet.layout import Layout
from hecto.fleet.snapshot import Instance
from hecto.fleet.supervisor import Supervisor
from hecto.fleet.wait import Patience


@dataclass
class Rolled:
    """What a roll did, or would do."""

    release: str
    moved: list[int] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        return {"changed": bool(self.moved), "release": self.release, "moved": self.moved}


def roll(
    layout: Layout,
    supervisor: Supervisor,
    release: str,
    *,
    patience: Patience,
    say: Say,
    every: bool = False,
    check: bool = False,
) -> Rolled:
    """Restart each instance for which a roll is due (`every`: all of them), and stop at the first that fails."""
    require_release(layout, release)
    due = list(_due(snapshot.take(layout, supervisor, release, with_memory=False).instances.values(), every))
    done = Rolled(release)
    for instance in due:
        if not check:
            _move(layout, supervisor, instance, release, patience, say)
        done.moved.append(instance.number)
    return done


def _due(instances: Iterable[Instance], every: bool) -> Iterable[Instance]:
    return (i for i in instances if i.wanted and i.runs and (every or i.roll_due))


def _move(
    layout: Layout, supervisor: Supervisor, instance: Instance, release: str, patience: Patience, say: Say
) -> None:
    number, before = instance.number, instance.pin
    drain(layout, [number], patience, say)
    layout.pin(number, release)
    supervisor.restart([number])
    late = wait.until_ready(layout, supervisor, [number], release, patience.ready)
    if not late:
        say(f"instance-{number} runs {release}")
        return
    outcome = "It stays down"
    if before and before != release:
        layout.pin(number, before)
        supervisor.restart([number])
        back = wait.until_ready(layout, supervisor, [number], before, patience.ready)
        outcome = f"It did not come back on {before} either" if back else f"It runs {before} again"
    raise NotReadyError(
        f"On release {release} {describe(late)}. {outcome}; the roll stopped here and the others "
        f"serve as before. Read journalctl -t hecto-{number}, mend the cause and run this again."
    )
