"""The whole fleet at one moment: what systemd says and what each instance says about itself."""

import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

from hecto.fleet import drift, memory
from hecto.fleet.control import ControlError, Reply, ask_all
from hecto.fleet.layout import Layout
from hecto.fleet.supervisor import ATTEMPTS, Supervisor, Unit


@dataclass(frozen=True)
class Instance:
    """One instance, as `hecto-fleet status` shows it."""

    number: int
    name: str
    # ready, held, draining, starting: its own word; hung: it does not answer; crashing, failed, stopped: systemd's.
    state: str
    release: str | None
    pin: str | None
    uptime: float | None
    in_flight: int | None
    websockets: int | None
    memory: int | None
    restarts: int
    pid: int
    started: float
    wanted: bool
    roll_due: list[str] = field(default_factory=list)
    problem: str | None = None

    @property
    def runs(self) -> bool:
        """There is a process that serves, will serve or should be asked to finish."""
        return self.state in ("ready", "held", "draining", "starting", "hung")


@dataclass(frozen=True)
class Snapshot:
    """All instances that run or should run."""

    release: str | None
    target_active: bool
    instances: dict[int, Instance]

    @property
    def ready(self) -> bool:
        """Every wanted instance takes traffic, and there is at least one."""
        wanted = [instance for instance in self.instances.values() if instance.wanted]
        return bool(wanted) and all(instance.state == "ready" for instance in wanted)

    @property
    def due(self) -> dict[int, list[str]]:
        """Running instances that a roll would change, and why."""
        return {n: i.roll_due for n, i in sorted(self.instances.items()) if i.roll_due}

    def as_json(self) -> dict[str, Any]:
        rows = [asdict(instance) for _, instance in sorted(self.instances.items())]
        return {
            "release": self.release,
            "ready": self.ready,
            "instances": rows,
            "roll_due": due_as_json(self.due),
        }


def due_as_json(due: dict[int, list[str]]) -> list[dict[str, Any]]:
    """Why a roll is due, one entry an instance."""
    return [{"instance": number, "reasons": reasons} for number, reasons in due.items()]


def take(
    layout: Layout,
    supervisor: Supervisor,
    release: str | None = None,
    wanted: Iterable[int] | None = None,
    with_memory: bool = True,
) -> Snapshot:
    """Look at the fleet. `release` and `wanted` say what should run: by default the current one, the target's list."""
    units = supervisor.units()
    expected = release or layout.current_release()
    numbers = units.wanted if wanted is None else frozenset(wanted)
    replies = ask_all({number: layout.control(number) for number, unit in units.by_number.items() if unit.runs})
    instances = {}
    for number in sorted(numbers | units.by_number.keys()):
        unit = units.by_number.get(number) or Unit(number, "inactive")
        if number in numbers or unit.active != "inactive":
            instances[number] = _instance(layout, unit, replies.get(number), number in numbers, expected, with_memory)
    return Snapshot(expected, units.target_active, instances)


def _instance(
    layout: Layout,
    unit: Unit,
    reply: Reply | ControlError | None,
    wanted: bool,
    expected: str | None,
    with_memory: bool,
) -> Instance:
    answer = reply if isinstance(reply, Reply) else None
    pin = layout.pin_of(unit.number)
    size = None
    if with_memory and unit.runs:
        size = unit.memory if unit.memory is not None else memory.of_process_tree(unit.pid)
    due = []
    if unit.runs and expected:
        due = drift.reasons(layout, unit, answer.release if answer else pin, expected)
    return Instance(
        number=unit.number,
        name=f"instance-{unit.number}",
        state=state_of(unit, answer),
        release=answer.release if answer else None,
        pin=pin,
        uptime=answer.uptime if answer else None,
        in_flight=answer.in_flight if answer else None,
        websockets=answer.websockets if answer else None,
        memory=size,
        restarts=unit.restarts,
        pid=unit.pid,
        started=round(unit.started, 3),
        wanted=wanted,
        roll_due=due,
        problem=problem_of(unit, reply),
    )


def state_of(unit: Unit, answer: Reply | None) -> str:
    """The word for what an instance does: its own, or, where it says nothing, what systemd makes of it."""
    if answer:
        return answer.state
    if unit.sub == "auto-restart" or _ends_again_and_again(unit):
        return "crashing"
    if unit.active == "activating":
        return "starting"
    if unit.runs:
        return "hung"
    return {"failed": "failed", "deactivating": "stopping"}.get(unit.active, "stopped")


def _ends_again_and_again(unit: Unit) -> bool:
    # Seen between two of its ends it looks like any other that starts.
    return unit.runs and unit.restarts >= ATTEMPTS and time.time() - unit.started < 60


def problem_of(unit: Unit, reply: Reply | ControlError | None) -> str | None:
    """What is wrong with an instance, and what to do."""
    if unit.active == "failed" or unit.sub == "auto-restart":
        return f"ended with {unit.result}; see: journalctl -t hecto-{unit.number}"
    if isinstance(reply, Reply) and reply.state == "held":
        return "takes no traffic until a roll has looked at it; if none is under way, hecto-fleet roll goes on with it"
    if isinstance(reply, ControlError) and unit.active == "active":
        return f"control socket: {reply}"
    return None
