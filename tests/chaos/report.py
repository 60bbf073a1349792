"""The figures of a run, for programs and for people."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.chaos import checker, findings
from tests.chaos.cores import Look, shares
from tests.chaos.evidence import Evidence
from tests.chaos.history import WRITES, Attempt, Operation, attempts

if TYPE_CHECKING:
    from tests.chaos.campaign import Campaign, Phase

# An answer that a correct site may give to what the clients ask; everything else has failed.
ANSWERS = frozenset({200, 201, 204, 404, 409})
SHOWN = 50


@dataclass
class Report:
    """What came of a run."""

    seed: int
    began: str
    seconds: float
    machine: dict[str, str]
    load: dict[str, Any]
    requests: dict[str, int]
    nginx: dict[str, int]
    phases: list[dict[str, Any]]
    events: list[dict[str, Any]]
    findings: list[dict[str, str]]
    failures: list[dict[str, Any]]

    @property
    def damage(self) -> dict[str, int]:
        """The four figures that must be 0."""
        return {name: self.requests[name] for name in ("failed", "duplicated", "lost", "wrong_answers")}

    @property
    def kills(self) -> int:
        """How many kill -9 there were."""
        return sum(event["kills"] for event in self.events)

    def phase(self, name: str) -> dict[str, Any]:
        """The figures of one phase."""
        return next(phase for phase in self.phases if phase["name"] == name)

    def summary(self) -> str:
        """The figures in a few lines, for whoever watches the run."""
        shown = ("sent", "failed", "failed_where_allowed", "duplicated", "lost", "wrong_answers", "replayed")
        figures = [f"{self.requests[name]:,} {name.replace('_', ' ')}" for name in shown]
        figures += [f"{self.requests['retried_by_nginx']:,} retried by nginx", f"{self.kills} kill -9"]
        lines = [f"  seed {self.seed}: {', '.join(figures)}"]
        for phase in self.phases:
            p50, p99, longest = phase["milliseconds"].values()
            busy, stolen = phase["cores"].values()
            lines.append(
                f"{phase['at']:7.1f} s  {phase['name']:<52} {phase['requests']:6} requests, {phase['failed']:3} failed"
                f"  p50 {p50:6.1f}  p99 {p99:6.1f}  max {longest:7.1f} ms"
                f"  cores {busy:3.0f} % busy, {stolen:.0f} % stolen"
            )
        return "\n".join(lines)

    def write(self, path: Path, **more: Any) -> None:
        """Write PATH.json and PATH.md."""
        values = asdict(self) | {"kills": self.kills} | more
        path.with_suffix(".json").write_text(json.dumps(values, indent=1) + "\n")
        path.with_suffix(".md").write_text(markdown(values))


def make(campaign: Campaign, operations: Sequence[Operation], evidence: Evidence) -> Report:
    """Check the history and count everything."""
    found = checker.check(operations, evidence.truth, evidence.listed)
    every = list(attempts(operations))
    failed = [(o, a, _bounded(a, campaign.phases)) for o, a in every if a.status not in ANSWERS]
    begin = min(attempt.begin for _, attempt in every)
    keyless = sum(1 for operation in operations if operation.kind in WRITES and not operation.keyed)
    requests = {
        "sent": len(every),
        "operations": len(operations),
        "writes": sum(operation.kind in WRITES for operation in operations),
        "writes_without_a_key": keyless,
        "failed": sum(not bounded for _, _, bounded in failed),
        "failed_where_allowed": sum(bounded for _, _, bounded in failed),
        "conflicts": sum(attempt.status == 409 for _, attempt in every),
        "not_found": sum(attempt.status == 404 for _, attempt in every),
        "repeated_by_clients": len(every) - len(operations),
        "retried_by_nginx": evidence.nginx.get("retried", 0),
        "reopened_by_clients": campaign.done.get("reopened", 0),
        "replayed": sum(attempt.replayed for _, attempt in every),
        "unknown": sum(operation.outcome == "unknown" for operation in operations),
        **findings.figures(found),
    }
    return Report(
        seed=campaign.seed,
        began=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(begin)),
        seconds=round(max(attempt.end for _, attempt in every) - begin, 1),
        machine=evidence.machine,
        load=asdict(campaign.size) | campaign.done,
        requests=requests,
        nginx=evidence.nginx,
        phases=[_phase(phase, every, begin, campaign.cores.looks) for phase in campaign.phases],
        events=[asdict(event) | {"at": round(event.at - begin, 1)} for event in campaign.events],
        findings=[finding._asdict() for finding in found[:SHOWN]],
        failures=[_failure(o, a, begin, bounded) for o, a, bounded in failed[:SHOWN]],
    )


def _bounded(attempt: Attempt, phases: Iterable[Phase]) -> bool:
    return any(p.bounded and attempt.begin < p.end and attempt.end > p.begin for p in phases)


def _phase(
    phase: Phase, every: Iterable[tuple[Operation, Attempt]], begin: float, looks: Sequence[Look]
) -> dict[str, Any]:
    inside = [attempt for _, attempt in every if phase.begin <= attempt.begin < phase.end]
    times = sorted(attempt.end - attempt.begin for attempt in inside)
    failed = [attempt for attempt in inside if attempt.status not in ANSWERS]
    return {
        "name": phase.name,
        "at": max(0.0, round(phase.begin - begin, 1)),
        "seconds": round(phase.end - phase.begin, 1),
        "requests": len(inside),
        "failed": len(failed),
        "failed_seconds": round(max(a.end for a in failed) - min(a.end for a in failed), 1) if failed else 0,
        "bounded": phase.bounded,
        "milliseconds": {name: _at(times, part) for name, part in (("p50", 0.5), ("p99", 0.99), ("max", 1.0))},
        "cores": shares(looks, phase.begin, phase.end),
    }


def _at(times: Sequence[float], part: float) -> float:
    if not times:
        return 0.0
    return round(times[min(len(times) - 1, int(len(times) * part))] * 1000, 1)


def _failure(operation: Operation, attempt: Attempt, begin: float, bounded: bool) -> dict[str, Any]:
    return {
        "at": round(attempt.begin - begin, 2),
        "seconds": round(attempt.end - attempt.begin, 2),
        "operation": operation.id,
        "kind": operation.kind,
        "status": attempt.status,
        "error": attempt.error,
        "keyed": operation.keyed,
        "allowed": bounded,
    }


def markdown(values: dict[str, Any]) -> str:
    """The report as a page."""
    requests, load = values["requests"], values["load"]
    lines = [
        "# Chaos: a site under load while it is deployed, scaled, killed and frozen",
        "",
        *([f"Made by `{values['command']}`. ", ""] if "command" in values else []),
        f"{values['began']}, seed {values['seed']}, {values['seconds']:.0f} s, {load['clients']} clients, "
        f"{load['rate']:g} operations a second, {values['kills']} kill -9.",
        "",
        "Machine, which also ran the load: " + ", ".join(f"{k} {v}" for k, v in values["machine"].items()) + ".",
        "",
        *table(("figure", "number"), [(name.replace("_", " "), f"{n:,}") for name, n in requests.items()]),
        "",
        *table(("promise", "measured", "kept"), values.get("verdict", [])),
        "",
        "## Phases",
        "",
        *table(
            ("at s", "phase", "s", "requests", "failed", "p50 ms", "p99 ms", "max ms", "cores busy %", "stolen %"),
            [
                (
                    *(p[key] for key in ("at", "name", "seconds", "requests")),
                    f"{p['failed']}{' (allowed)' * p['bounded']}",
                    *p["milliseconds"].values(),
                    *p["cores"].values(),
                )
                for p in values["phases"]
            ],
        ),
        "",
        "## What was done, and when",
        "",
        *table(
            ("at s", "what", "s"), [(event["at"], event["what"], event["seconds"] or "") for event in values["events"]]
        ),
        "",
        "## nginx",
        "",
        *table(("its log", "number"), sorted(Counter(values["nginx"]).items())),
        "",
    ]
    for title in ("findings", "failures"):
        if values[title]:
            rows = [tuple(row.values()) for row in values[title]]
            lines += [f"## {title.capitalize()}", "", *table(tuple(values[title][0]), rows), ""]
    return "\n".join(lines)


def table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> list[str]:
    """A table as Markdown has it; nothing where it has no rows."""
    body = ["| " + " | ".join(str(cell).replace("|", "\\|").replace("\n", " ") for cell in row) + " |" for row in rows]
    return ["| " + " | ".join(head) + " |", "|" + "---|" * len(head), *body] if body else []
