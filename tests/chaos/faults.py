"""What is done to a site under load: small functions that do one thing on the host and say what they did."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

from tests.chaos.commands import FLEET, Host

# A kernel without a list of children would need ps, which a small host does not have.
CHILDREN = "$(cat /proc/$main/task/$main/children)"
# An instance that is about to start has nothing to kill yet: wait for it.
STRIKE = """
for attempt in $(seq 100); do
    main=$(systemctl show -P MainPID hecto@{number}.service)
    if [ "$main" -gt 0 ] && {kill}; then exit 0; fi
    sleep 0.1
done 2>/dev/null
exit 1
"""
STOP_SECONDS = 12.0
ROLLER_SECONDS = 120
# A batch: a tenth of the fleet, and at least one.
IN_HAND = 2


class Fault(Protocol):
    """Something bad, and the words for it."""

    def __call__(self, host: Host) -> str: ...


def kill_worker(number: int) -> Fault:
    """The worker dies; its arbiter holds the sockets and makes another."""

    def strike(host: Host) -> str:
        host.run(STRIKE.format(number=number, kill=f"kill -9 {CHILDREN}"))
        return f"kill -9 of the worker of instance {number}"

    return strike


def kill_arbiter(number: int) -> Fault:
    """The arbiter dies; systemd ends its worker and starts the unit again."""

    def strike(host: Host) -> str:
        host.run(STRIKE.format(number=number, kill="kill -9 $main"))
        return f"kill -9 of the arbiter of instance {number}"

    return strike


def kill_unit(number: int) -> Fault:
    """Every process of the unit dies at the same moment, as when the kernel runs out of memory."""

    def strike(host: Host) -> str:
        kill = f"systemctl kill -s KILL hecto@{number}.service"
        host.run(STRIKE.format(number=number, kill=kill))
        return f"kill -9 of the unit of instance {number}"

    return strike


KILLS: tuple[Callable[[int], Fault], ...] = (kill_worker, kill_arbiter, kill_unit)


def both(first: Fault, second: Fault) -> Fault:
    """Two at once, or as near to it as one connection allows."""

    def strike(host: Host) -> str:
        return f"{first(host)}, and {second(host)}"

    return strike


def freeze(number: int, seconds: float = STOP_SECONDS) -> Fault:
    """An instance stands still, with what it holds, and goes on later as if nothing had been."""

    def strike(host: Host) -> str:
        unit = f"hecto@{number}.service"
        host.run(f"systemctl kill -s STOP {unit}; sleep {seconds:g}; systemctl kill -s CONT {unit}")
        return f"SIGSTOP of instance {number} for {seconds:g} s"

    return strike


def restart_redis(host: Host) -> str:
    """Sessions, rates and the cache are away for a moment."""
    done = host.run("systemctl restart redis-server.service")
    return f"restart of Redis in {done.seconds} s"


def restart_postgres(host: Host) -> str:
    """The database is away for a moment; every transaction under way is lost."""
    unit = host.run("systemctl list-units 'postgresql@*' --no-legend --plain").output.split()[0]
    done = host.run(f"systemctl restart {unit}")
    return f"restart of {unit} in {done.seconds} s"


def reload_nginx(host: Host) -> str:
    """A new generation of nginx's workers; the old one finishes what it has."""
    host.run("systemctl reload nginx.service")
    return "reload of nginx"


def kill_nginx_worker(host: Host) -> str:
    """Every connection of the clients that this worker has breaks."""
    host.run(f"main=$(systemctl show -P MainPID nginx.service); set -- {CHILDREN}; kill -9 $1")
    return "kill -9 of a worker of nginx"


def kill_roller(host: Host, pause: float) -> str:
    """The roller dies a moment after its first move; the same command, given again, goes on from there."""
    roll = f"{FLEET} roll --all --release $(basename $(readlink /opt/hecto/current)) --json"
    pid = "/run/hecto-chaos-roller.pid"
    before = host.processes()
    first = host.spawn(f"echo $$ > {pid}; exec {roll}")
    deadline = time.monotonic() + ROLLER_SECONDS
    while not _moved(before, host.processes()) and first.poll() is None and time.monotonic() < deadline:
        time.sleep(0.5)
    time.sleep(pause)
    killed = host.run(f"kill -9 $(cat {pid})", check=False)
    said = first.communicate(timeout=ROLLER_SECONDS)[0]
    assert killed.code == 0, f"the roll had ended before it could be killed: {said}"
    between = host.processes()
    second = host.run(roll)
    done, rest = _moved(before, between), _moved(between, host.processes())
    assert done, "the roller did nothing until it was killed"
    assert done | rest == set(before), f"instances {set(before) - done - rest} were not moved at all"
    # The one that the roller had in hand may have been stopped by one and started by the other.
    assert len(done & rest) <= IN_HAND, f"instances {done & rest} were moved twice: the second roll began anew"
    return f"kill -9 of the roller after {len(done)} instances; again, it moved {len(rest)} in {second.seconds} s"


def _moved(before: dict[int, int], after: dict[int, int]) -> set[int]:
    return {number for number, process in before.items() if after.get(number) != process}
