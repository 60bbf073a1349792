"""Hosts from afar: each says one snapshot a line (`top --follow`). Several are put side by side, the worst first.

Run on the control machine, which has the hosts' names and the way to reach them; it needs nothing but Python.
"""

import json
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from hecto.fleet.top import draw
from hecto.fleet.top.draw import HEAD, PLAIN, QUIET, STRONG, WRONG, Line, Span
from hecto.fleet.top.fleet import sums
from hecto.fleet.top.screen import is_terminal, screen
from hecto.fleet.top.words import percent, rate, size

Snapshot = dict[str, Any]
# A host that says nothing for so long is told as silent: it looks every two seconds.
SILENT_SECONDS = 10.0
PATIENCE = 20.0
# What they told is drawn soon after they did.
REDRAW_SECONDS = 0.5
_COLUMNS = "{:<16} {:>8} {:>8} {:>7} {:>7} {:>6} {:>5} {:>5} {:>8} {:<10} {:<8}"


class Host:
    """A program that tells of one host, and what it told last."""

    def __init__(self, name: str, command: Sequence[str]) -> None:
        self.name = name
        self.latest: Snapshot | None = None
        self.heard = self._begun = time.monotonic()
        self.why = ""
        self._process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for read in (self._read, self._read_errors):
            threading.Thread(target=read, daemon=True).start()

    def _read(self) -> None:
        for line in self._process.stdout or ():
            try:
                self.latest, self.heard = json.loads(line), time.monotonic()
            except ValueError:
                self.why = line.strip()

    def _read_errors(self) -> None:
        for line in self._process.stderr or ():
            self.why = line.strip() or self.why

    @property
    def silent(self) -> float:
        """Seconds since it told something."""
        return time.monotonic() - self.heard

    @property
    def ended(self) -> bool:
        return self._process.poll() is not None

    def close(self) -> None:
        """End the program: the one on the host ends when nobody reads it."""
        self._process.terminate()
        self._process.wait(5)


def watch(commands: Mapping[str, Sequence[str]], *, once: bool = False, as_json: bool = False) -> int:
    """Show hosts live, or once; `commands` tell of one host each. Returns an exit code."""
    hosts = [Host(name, command) for name, command in commands.items()]
    try:
        if once or as_json or not is_terminal():
            _wait_for_all(hosts)
            now = merge(hosts)
            text = [draw.paint(line, 120, colour=False) for line in frame(now, 10_000)]
            print(json.dumps(now) if as_json else "\n".join(text))
            return 0
        return _live(hosts)
    except KeyboardInterrupt:
        return 0
    finally:
        for host in hosts:
            host.close()


def _live(hosts: Sequence[Host]) -> int:
    with screen() as shown:
        while True:
            shown.draw(partial(_frame, hosts))
            if shown.wait(REDRAW_SECONDS) == "quit":
                return 0
            if all(host.ended for host in hosts):
                break
    # Said where it stays to be read: on the terminal as it was before.
    for host in hosts:
        print(f"{host.name} says nothing more: {host.why or 'the connection has ended'}", file=sys.stderr)
    return 1


def _frame(hosts: Sequence[Host], width: int, height: int) -> list[Line]:
    """One host as it would draw itself; several side by side."""
    first = hosts[0]
    if len(hosts) > 1:
        return frame(merge(hosts), height)
    if first.latest is None:
        return [[Span(f" {first.name}: asking how it is ...", QUIET)]]
    late = [{"what": f"nothing was heard for {first.silent:.0f} s", "means": "the host or the way to it is in trouble"}]
    known = first.latest if first.silent < SILENT_SECONDS else {**first.latest, "problems": late}
    return draw.frame(known, width, height)


def _wait_for_all(hosts: Sequence[Host]) -> None:
    """Until each has told twice, so that its rates are known, or has ended, or time is up."""
    deadline = time.monotonic() + PATIENCE
    first: dict[str, float] = {}
    while time.monotonic() < deadline:
        for host in hosts:
            if host.latest:
                first.setdefault(host.name, host.latest["at"])
        if all(host.ended or (host.latest and host.latest["at"] != first[host.name]) for host in hosts):
            return
        time.sleep(0.1)


def merge(hosts: Sequence[Host]) -> Snapshot:
    """All hosts as one: each with its snapshot, the worst first, and what they do together."""
    told = {host.name: host.latest for host in hosts if host.latest and host.silent < SILENT_SECONDS}
    silent = {host.name: host.why or "it has not answered yet" for host in hosts if host.name not in told}
    return together({name: now for name, now in told.items() if now}, silent)


def together(told: Mapping[str, Snapshot], silent: Mapping[str, str]) -> Snapshot:
    """The sums of what hosts told, their problems with their names, and who said nothing."""
    ordered = sorted(told.items(), key=_badness)
    problems = [
        {"host": name, "what": f"says nothing: {why}", "means": "what it does is not known"}
        for name, why in sorted(silent.items())
    ]
    problems += _each_once(ordered)
    rows = [row for _, now in ordered if now["fleet"] for row in now["fleet"]["instances"]]
    return {
        "at": max((now["at"] for now in told.values()), default=time.time()),
        "hosts": [{**now, "name": name} for name, now in ordered],
        "silent": dict(silent),
        "fleet": {"instances": len(rows), **sums(rows)},
        "problems": problems,
    }


def _badness(pair: tuple[str, Snapshot]) -> tuple[float, float, str]:
    name, now = pair
    return (-len(now["problems"]), -(now["machine"]["cpu"] or 0), name)


def _each_once(ordered: Sequence[tuple[str, Snapshot]]) -> list[dict[str, str]]:
    """What several hosts tell of the one PostgreSQL or Redis that they share is told once."""
    found: dict[str, dict[str, str]] = {}
    for name, now in ordered:
        for one in now["problems"]:
            known = found.setdefault(one["what"], {"host": "", **one})
            known["host"] = ", ".join(filter(None, [known["host"], name]))
    return list(found.values())


def frame(now: Snapshot, height: int) -> list[Line]:
    """Hosts side by side, worst first; then the primary of PostgreSQL and that of Redis."""
    clock = time.strftime("%H:%M:%S", time.gmtime(now["at"]))
    told, silent = len(now["hosts"]), len(now["silent"])
    lines: list[Line] = [[Span(f" {told} of {told + silent} hosts  {clock} UTC  q quits ", HEAD)]]
    lines += draw.problems(now["problems"])
    lines.append([Span(" fleet    ", STRONG), *draw.fleet_sums(now["fleet"])])
    below = [*draw.postgres(_primary(now, "postgres")), *draw.redis(_primary(now, "redis"))]
    titles = ("host", "load", "cpu", "memory", "disk", "ready", "req/s", "ws", "inst mem", "postgres", "redis")
    lines.append([Span(" " + _COLUMNS.format(*titles), QUIET)])
    room = max(draw.ROWS, height - len(lines) - len(below))
    for host in now["hosts"][:room]:
        lines.append([Span(" " + _host(host), WRONG if host["problems"] else PLAIN)])
    return [*lines, *below][:height]


def _host(now: Snapshot) -> str:
    machine, fleet = now["machine"], now["fleet"]
    memory = machine["memory"]
    used = 1 - memory["available"] / memory["total"] if memory["total"] else None
    return _COLUMNS.format(
        now["name"][:16],
        f"{machine['load'][0]:.1f}/{machine['cores']}",
        percent(machine["cpu"]),
        percent(used),
        percent(machine["disk"]["used"] if machine["disk"] else None),
        f"{fleet['ready']}/{fleet['wanted']}" if fleet else "-",
        rate(fleet["requests"]) if fleet else "-",
        fleet["websockets"] if fleet else "-",
        size(fleet["memory"]) if fleet else "-",
        _postgres(now["postgres"]),
        _redis(now["redis"]),
    )


def _postgres(service: dict[str, Any] | None) -> str:
    return _without_role(service) or ("replica" if service and service["replica"] else "primary")


def _redis(service: dict[str, Any] | None) -> str:
    """Its role; a replica that does not reach its primary is none that could take over."""
    is_cut_off = service is not None and service.get("link") not in (None, "up")
    return _without_role(service) or ("cut off" if is_cut_off else str(service and service["role"]))


def _without_role(service: dict[str, Any] | None) -> str:
    """What is said of a service that is down, or not on this host; empty of one that is up here."""
    if service is None or not service.get("here", True):
        return "-"
    return "" if service["state"] == "up" else str(service["state"])


def _primary(now: Snapshot, service: str) -> dict[str, Any] | None:
    """Of all that hosts told of a service, what its primary is like; else whatever there is."""
    found = [host[service] for host in now["hosts"] if host[service]]
    up = [one for one in found if one["state"] == "up"]
    first = [one for one in up if not (one["replica"] if service == "postgres" else one["role"] == "replica")]
    return next(iter([*first, *up, *found]), None)
