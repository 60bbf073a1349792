"""What was measured, as tables for a terminal and a page, and as JSON."""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from bench.realtime.fleets import NODE
from bench.realtime.measure import CIRCUMSTANCES
from control.site import ROOT

RESULTS = ROOT / "bench" / "results"
PACKAGES = ("flask-socketio", "python-socketio", "python-engineio", "simple-websocket", "gevent", "gunicorn", "redis")

# By server, the values of each figure, one a round.
Measured = Mapping[str, Mapping[str, Sequence[float]]]

METHOD = """\
Every server ran as processes of its own with a Redis of its own between them, all on this machine, and the clients too:
one process that speaks WebSocket over the instances' unix sockets, which is how nginx reaches them. In each round the
servers took turns, with fresh processes; one event lost, repeated or out of order would have ended the run. A cell is
the median of the rounds, with the lowest and the highest; "of Hecto's" is the ratio of the medians.

* **Deliveries**: {members} members in each of {rooms} rooms at one instance, {rate} events a second of about 250 bytes
  of JSON, for {seconds} s, emitted by another instance, after the same without looking. CPU is user and system time by
  the clock of the process, which counts nanoseconds; of gunicorn it is the worker's. Latency is from just before the
  emit to the client's read, on one clock.
* **Memory**: how much an instance grows by {idle} idle connections, with its garbage collected, divided by them.
* **A connect**: the WebSocket's handshake, engine.io's and Socket.IO's CONNECT, {idle} times.
* **An emit**: {rate} a second to rooms with one member on each of three instances, while so many instances run, each
  with at least one connection, after the same without looking; what they all need without emits is taken off.
  "instances" is all of them but the one that emits.
"""
LIMITS = """\
* The work of a connect is not the same: {connecting}.
* Hecto's instance is a whole application with PostgreSQL, the others are the Socket.IO server alone: what they hold
  without connections is no figure about real-time servers.
* What the kernel holds for a connection is not in the memory. A process with room left in its heap grows by less than
  its connections hold, V8 more so than Python; the more connections, the less that matters.
* Node ran without `bufferutil`, which is optional; it collects garbage on threads of its own, whose time counts.
* Events by publish and subscribe are gone for a client that was away; the streams adapter keeps them, and pays for it.
* Latency includes the clients' own time; they are one process and take their share of the cores.
"""


def machine() -> dict[str, str]:
    """What it ran on, and which versions."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    pinned = json.loads((NODE / "package.json").read_text())["dependencies"]
    return {
        "cores": str(os.cpu_count()),
        "memory": f"{memory:.0f} GB",
        "system": platform.freedesktop_os_release()["PRETTY_NAME"],
        "kernel": platform.release(),
        "Python": platform.python_version(),
        "Node": _says("node", "--version"),
        "Redis": _says("redis-server", "--version").split("v=")[-1].split()[0],
        **{name: version(name) for name in PACKAGES},
        **{f"{name} (npm)": number for name, number in pinned.items()},
    }


def write(name: str, title: str, command: str, values: Mapping[str, Any], sections: Sequence[str]) -> Path:
    """Keep a result as JSON and as a page; returns the page."""
    RESULTS.mkdir(exist_ok=True)
    found = {"at": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}", "command": command, "machine": machine(), **values}
    (RESULTS / f"{name}.json").write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n")
    about = ", ".join(f"{what} {value}" for what, value in found["machine"].items())
    lines = [f"# {title}", f"Made by `{command}` at {found['at']}.", f"Machine: {about}.", *sections]
    page = RESULTS / f"{name}.md"
    page.write_text("\n\n".join(line.strip("\n") for line in lines) + "\n")
    return page


def comparison(measured: Measured) -> list[list[str]]:
    """A line a figure, a column a server, the first of them being what the others are compared with."""
    servers = list(measured)
    rows = [["figure", *(servers[:1]), *(word for name in servers[1:] for word in (name, f"of {servers[0]}'s"))]]
    for what in measured[servers[0]]:
        own = statistics.median(measured[servers[0]][what])
        row = [what, _cell(measured[servers[0]][what])]
        for name in servers[1:]:
            values = measured[name][what]
            compared = own and what not in CIRCUMSTANCES
            row += [_cell(values), f"{statistics.median(values) / own:.2f}" if compared else "—"]
        rows.append(row)
    return rows


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """A table for a terminal."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows)
    return "\n".join(lines) + "\n"


def table(rows: Sequence[Sequence[str]]) -> str:
    """A table for a page."""
    head, *rest = (f"| {' | '.join(row)} |" for row in rows)
    return "\n".join([head, "|---" * len(rows[0]) + "|", *rest])


def figure(value: float) -> str:
    """A number with three digits that count."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def _cell(values: Sequence[float]) -> str:
    middle = figure(statistics.median(values))
    return middle if len(values) == 1 else f"{middle} ({figure(min(values))} to {figure(max(values))})"


def _says(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
