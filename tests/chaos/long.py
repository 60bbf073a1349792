"""The long run: everything at once on a site of its own, with the report in bench/results.

./hecto bench chaos [--seed S] [--requests N]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from control.progress import say
from control.site import ROOT, Site, load_site
from tests.chaos import steps
from tests.chaos.campaign import Campaign, Size
from tests.chaos.commands import Hecto, Host, finish
from tests.chaos.report import Report
from tests.chaos.steps import BACK, MOVING, THERE
from tests.chaos.variants import BROKEN, NEXT, Built, build

RESULTS = ROOT / "bench" / "results"
COMMAND = "./hecto bench chaos --seed {seed} --requests {requests}"
# A third of what two cores carry with everything on them. A request with all that belongs to it took 11 ms of CPU,
# spread over 12 instances: latency then shows what a fault does, not a full machine.
RATE, CLIENTS = 60.0, 48
INSTANCES, MORE = 12, 14
KILLS = 64
QUIET_SECONDS = 120.0
LONGEST = 5400.0
# What is promised.
ROLL_SECONDS, ROLL_P99, KILLED, OUTAGE_SECONDS = 60.0, 3.0, 60, 10.0


def main() -> int:
    """Run it, write the report, and say whether every promise was kept."""
    parser = argparse.ArgumentParser(prog="./hecto bench chaos", description=__doc__)
    parser.add_argument("--seed", type=int, default=int(time.time()) % 100_000, help="of the order of the faults")
    parser.add_argument("--requests", type=int, default=100_000, help="at least so many (default %(default)s)")
    parser.add_argument("--keep", action="store_true", help="leave the site as it is at the end")
    options = parser.parse_args()
    command = COMMAND.format(seed=options.seed, requests=options.requests)
    say(f"  {command}")
    site = load_site()
    (site.directory / "chaos").mkdir(parents=True, exist_ok=True)
    hecto = Hecto(site, site.directory / "chaos" / "site.log")
    hecto.up(INSTANCES).require()
    # Where the site was left by another run, its instances may still run something else.
    hecto.deploy().require()
    site = load_site()
    here, next_release, broken = _releases(site)
    campaign = Campaign(
        site, site.directory / "chaos" / "long", options.seed, Size(RATE, CLIENTS, options.requests, LONGEST)
    )
    rolls: dict[str, float] = {}
    try:
        campaign.begin()
        broke_off = _try(lambda: run(campaign, here, next_release, broken, rolls))
        say("  holding what was answered against what is there")
        report = campaign.end()
    finally:
        campaign.close()
    verdict = [("every step did what it should", broke_off or "yes", "NO" if broke_off else "yes")]
    verdict += judge(report, options.requests, rolls)
    _write(report, verdict, rolls, command)
    kept = all(answer == "yes" for _, _, answer in verdict)
    if kept and not options.keep:
        hecto.destroy().require()
    elif not kept:
        say(f"  The site stays for whoever looks into it: HECTO_NAME={site.name} ./hecto status")
    return 0 if kept else 1


def run(campaign: Campaign, here: str, next_release: Built, broken: list[Built], rolls: dict[str, float]) -> None:
    """Every part, one after the other; `rolls` takes the seconds of the rolls."""
    steps.quiet(campaign, QUIET_SECONDS)
    rolls["there"] = steps.roll_there(campaign, next_release)
    for built in broken:
        steps.refuse(campaign, built)
    rolls["back"] = steps.roll_back(campaign, here)
    steps.kills(campaign, KILLS)
    steps.freeze(campaign, 3)
    steps.scale(campaign, MORE, INSTANCES)
    steps.kill_the_roller(campaign)
    steps.servers(campaign)
    steps.quiet(campaign, QUIET_SECONDS / 2, "after")


def _try(work: Callable[[], None]) -> str:
    """Run the parts; what made them break off is returned, so that the report tells of it and of all before."""
    try:
        work()
    except Exception as error:  # whatever it was, what was measured until then is worth a report
        say(f"hecto: {type(error).__name__}: {error}")
        return f"{type(error).__name__}: {error}".partition("\n")[0]
    return ""


def judge(report: Report, requests: int, rolls: dict[str, float]) -> list[tuple[str, str, str]]:
    """Each promise, what was measured, and whether it was kept."""
    p99 = {phase["name"]: phase["milliseconds"]["p99"] for phase in report.phases}
    calm, worst = p99.get("before", 0.0), max(p99.get(name + MOVING, float("inf")) for name in (THERE, BACK))
    outage = max([phase["failed_seconds"] for phase in report.phases if phase["bounded"]], default=0.0)
    allowed = {phase["name"]: phase["failed"] for phase in report.phases if phase["bounded"]}
    note = f" (and {' and '.join(f'{count} in the {name}' for name, count in allowed.items())}, which may show)"
    found: list[tuple[str, Any, bool]] = [
        (f"0 {name.replace('_', ' ')}", f"{count}{note if name == 'failed' else ''}", count == 0)
        for name, count in report.damage.items()
    ]
    found += [
        (f"at least {requests:,} requests", f"{report.requests['sent']:,}", report.requests["sent"] >= requests),
        (
            "the load kept its rate",
            f"{report.requests['sent'] / report.seconds:.0f} of {RATE:g} a second",
            report.requests["sent"] >= 0.9 * RATE * report.seconds,
        ),
        (f"at least {KILLED} kill -9", report.kills, report.kills >= KILLED),
        (
            f"p99 in a roll at most {ROLL_P99:g} times that before",
            f"{worst} to {calm} ms",
            worst <= ROLL_P99 * calm,
        ),
        (f"errors of an outage end within {OUTAGE_SECONDS:g} s", f"{outage} s", outage <= OUTAGE_SECONDS),
    ]
    for name in ("there", "back"):
        seconds = rolls.get(name, float("inf"))
        found.append((f"the roll {name} under {ROLL_SECONDS:g} s", f"{seconds} s", seconds < ROLL_SECONDS))
    return [(promise, str(measured), "yes" if kept else "NO") for promise, measured, kept in found]


def _releases(site: Site) -> tuple[str, Built, list[Built]]:
    """What runs, and what it is to be moved to: all built before the load begins."""
    host = Host(site)
    try:
        (here,) = set(host.releases().values())
    finally:
        host.close()
    return here, build(NEXT, site), [build(kind, site) for kind in BROKEN]


def _write(report: Report, verdict: list[tuple[str, str, str]], rolls: dict[str, float], command: str) -> None:
    RESULTS.mkdir(parents=True, exist_ok=True)
    report.write(RESULTS / "chaos", command=command, verdict=verdict, rolls=rolls)
    say(report.summary())
    for promise, measured, kept in verdict:
        say(f"  {'ok  ' if kept == 'yes' else 'FAIL'} {promise:<58} {measured}")
    say(f"  {Path('bench/results/chaos.md')}")


if __name__ == "__main__":
    finish(main)
