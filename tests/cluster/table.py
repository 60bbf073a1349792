"""The report of a run on a cluster: the fault table, and what was promised."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from control.progress import say
from tests.chaos.report import Report, table
from tests.cluster.figures import Row
from tests.cluster.hearing import Hearing

SHOWN = 20
HEAD = (
    "fault",
    "s without writes",
    "requests",
    "failed",
    "repeated by clients",
    "writes lost",
    "doubled",
    "wrong answers",
    "events",
    "lost",
    "repeated",
    "out of order",
    "told to read again",
    "s until whole",
    "promises kept",
)
Promise = tuple[str, str, str]
ABOUT = """\
# Faults of a cluster: what each costs

Made by `{command}`. Three hosts on one machine, each with PostgreSQL, etcd, Redis and instances; two of them edges.

{began}, seed {seed}, {seconds:.0f} s, {clients} clients, {rate:g} operations a second. Pages heard {heard:,} events.

Machine, which also ran the load: {machine}.
"""
MEANING = """\
* *Seconds without writes*: the longest time in which no client's write was acknowledged, less the usual time.
* *Failed*: operations that ended without an answer. *Repeated by clients*: requests whose connection or answer was
  lost, and that a client with a key of its own, as a browser has, sent again with success. Nobody but the client can
  do that where its own connection dies.
* *Events lost*: that an open page never heard, and without having been told to read again.
* *Until whole*: from the strike to three hosts with all their parts, copies that follow, and no failed unit. The time
  for which a fault lasts is a part of it.
"""


def promises(rows: Sequence[Row], report: Report, heard: Hearing, broke_off: str) -> list[Promise]:
    """What was promised for the run, what came, and whether it was kept."""
    requests = report.requests
    kinds = ("lost", "repeated", "reordered")
    wrong = {kind: sum(one.what == kind for one in heard.wrong) for kind in kinds}
    found: list[tuple[str, Any, bool]] = [
        ("every fault could be done and was survived", broke_off or "yes", not broke_off),
        ("every promise of each fault", _broken(rows) or "yes", not _broken(rows)),
        ("0 requests failed where nobody may notice", requests["failed"], requests["failed"] == 0),
        *((f"0 {name.replace('_', ' ')}", requests[name], requests[name] == 0) for name in _DAMAGE),
        *((f"0 events {name}", count, count == 0) for name, count in wrong.items()),
    ]
    return [(what, str(measured), "yes" if kept else "NO") for what, measured, kept in found]


_DAMAGE = ("lost", "duplicated", "wrong_answers")


def _broken(rows: Sequence[Row]) -> str:
    return "; ".join(f"{row.fault}: {', '.join(row.broken)}" for row in rows if row.broken)


def cells(row: Row) -> tuple[Any, ...]:
    """A row of the table."""
    return (
        row.fault,
        row.seconds_without_writes,
        row.requests,
        row.failed,
        row.repeated,
        row.lost,
        row.duplicated,
        row.wrong_answers,
        row.events,
        row.events_lost,
        row.events_repeated,
        row.events_reordered,
        row.resyncs,
        row.seconds_until_whole,
        "; ".join(row.broken) or "yes",
    )


def summary(rows: Sequence[Row]) -> str:
    """The table for whoever watches the run."""
    lines = [
        f"  {row.fault:<58} {row.seconds_without_writes:5.1f} s without writes, {row.requests:5} requests,"
        f" {row.failed:3} failed, {row.repeated:3} repeated, {row.events_lost} of {row.events} events lost,"
        f" {row.resyncs} told; whole after {row.seconds_until_whole:.0f} s"
        f"{' NOT KEPT: ' + '; '.join(row.broken) if row.broken else ''}"
        for row in rows
    ]
    return "\n".join(lines)


def show(rows: Sequence[Row], verdict: Sequence[Promise]) -> None:
    """The table and what was promised, for whoever watches the run."""
    say(summary(rows))
    for promise, measured, kept in verdict:
        say(f"  {'ok  ' if kept == 'yes' else 'FAIL'} {promise:<58} {measured}")


def write(
    path: Path, command: str, rows: Sequence[Row], report: Report, heard: Hearing, verdict: Sequence[Promise]
) -> None:
    """Write PATH.json and PATH.md."""
    values = {
        "command": command,
        "began": report.began,
        "seed": report.seed,
        "seconds": report.seconds,
        "machine": report.machine,
        "load": report.load,
        "verdict": list(verdict),
        "faults": [row.values() for row in rows],
        "requests": report.requests,
        "nginx": report.nginx,
        "told_twice": heard.told_twice,
        "heard": heard.heard,
        "phases": report.phases,
        "events": report.events,
        "findings": report.findings,
        "failures": report.failures,
        "wrong_events": [wrong._asdict() for wrong in heard.wrong[:SHOWN]],
    }
    path.with_suffix(".json").write_text(json.dumps(values, indent=1) + "\n")
    path.with_suffix(".md").write_text(_page(values, rows, report, heard))


def _page(values: dict[str, Any], rows: Sequence[Row], report: Report, heard: Hearing) -> str:
    machine = ", ".join(f"{name} {value}" for name, value in report.machine.items())
    lines = [
        ABOUT.format(**report.load | values | {"heard": heard.heard, "machine": machine}),
        *table(HEAD, [cells(row) for row in rows]),
        "",
        MEANING,
        *table(("promise", "measured", "kept"), values["verdict"]),
        "",
        "## What was done, and when",
        "",
        *table(("at s", "what", "s"), [(e["at"], e["what"], e["seconds"] or "") for e in report.events]),
        "",
        *table(("figure", "number"), [(name.replace("_", " "), f"{n:,}") for name, n in report.requests.items()]),
        "",
    ]
    for title in ("findings", "failures", "wrong_events"):
        if values[title]:
            shown = [tuple(row.values()) for row in values[title]]
            lines += [f"## {title.replace('_', ' ').capitalize()}", "", *table(tuple(values[title][0]), shown), ""]
    return "\n".join(lines)
