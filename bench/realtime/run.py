"""Hecto's real-time server beside Socket.IO on Node and Flask-SocketIO as it comes, in the same run and in turns.

    ./hecto bench realtime [--rounds N] [--fleets N,N,...] [--quick] [--only NAME]
    ./hecto bench realtime --soak [--nginx] [--sockets N] [--instances N] [--minutes N]

Writes bench/results/realtime.json and realtime.md, with --soak realtime-soak.json and realtime-soak.md; a run with
--quick or --only writes nothing, because its figures are no comparison.
"""

from __future__ import annotations

import argparse
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path

from bench.realtime import report, soak
from bench.realtime.client import raise_limits
from bench.realtime.fleets import Fleet, Hecto, Node, NodeStreams, Stock
from bench.realtime.measure import HEARING, QUICK, STOLEN, Size, turn
from control.progress import Failure, say, step
from control.site import ROOT
from tests.chaos import cores
from tests.servers import scratch

# Connections of one process at a time, with room for its files.
SPARE_FILES = 1000
# The fewest that have a median which one bad turn does not move.
ROUNDS = 3

KINDS: dict[str, Callable[[Path, int], Fleet]] = {
    "hecto": Hecto,
    "node": lambda directory, most: Node(directory),
    "node-streams": lambda directory, most: NodeStreams(directory),
    "flask": lambda directory, most: Stock(directory),
}


def main() -> int:
    """Measure, print and keep the figures."""
    options = _options()
    # Also whoever is told to end stops what it has started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        _hold(options) if options.soak else _compare(options)
    except Failure as failure:
        say(failure.render())
        return 1
    except (AssertionError, OSError, RuntimeError) as error:
        # Of the servers and what asks them: it did not start, or did not answer.
        say(Failure(f"the run broke off: {error}", advice="the logs named above say why; nothing was kept").render())
        return 1
    except KeyboardInterrupt:
        say("hecto: interrupted; everything that was started has been stopped, and nothing was kept")
        return 130
    return 0


def _compare(options: argparse.Namespace) -> None:
    size = QUICK if options.quick else Size(fleets=options.fleets)
    rounds = 1 if options.quick else options.rounds
    raise_limits(max(size.idle, size.rooms * size.members) + SPARE_FILES)
    measured: dict[str, dict[str, list[float]]] = {}
    with _fleets(options.only or list(KINDS), max(size.fleets)) as fleets:
        connecting = "; ".join(f"{fleet.name} {fleet.connecting}" for fleet in fleets)
        for number in range(1, rounds + 1):
            for fleet in fleets:
                _take_turn(fleet, size, f"Round {number} of {rounds}: {fleet.name}", measured)
    rows = report.comparison(measured)
    sys.stdout.write(report.aligned(rows))
    if options.quick or options.only:
        say("  Nothing was written to bench/results: these figures are too few, or no comparison.")
        return
    page = report.write(
        "realtime",
        "Real-time servers side by side",
        f"./hecto bench realtime --rounds {rounds} --fleets {','.join(map(str, size.fleets))}",
        {"rounds": rounds, "size": asdict(size), "figures": measured},
        [
            report.table(rows),
            "## Method",
            report.METHOD.format(**asdict(size)),
            "## What cannot be compared",
            report.LIMITS.format(connecting=connecting),
        ],
    )
    say(f"  {page.relative_to(ROOT)}")


def _take_turn(fleet: Fleet, size: Size, title: str, measured: dict[str, dict[str, list[float]]]) -> None:
    before = cores.look()
    with step(title) as current:
        figures = turn(fleet, size, current.note)
    after = cores.look()
    # How much the machine itself let the turn down: where it is much, the figures beside it say little.
    figures[STOLEN] = cores.shares([before, after], before.at, after.at)["stolen"]
    for name, value in figures.items():
        measured.setdefault(fleet.name, {}).setdefault(name, []).append(round(value, 3))


def _hold(options: argparse.Namespace) -> None:
    plan = soak.Plan(options.sockets, options.instances, options.minutes, nginx=options.nginx)
    raise_limits(plan.sockets + SPARE_FILES)
    (kind,) = options.only or ["hecto"]
    with _fleets([kind], plan.instances + 1) as (fleet,), step(f"Soak of {fleet.name}") as current:
        found = soak.soak(fleet, plan, current.note)
        name = fleet.name
    rows = soak.rows(found)
    sys.stdout.write(report.aligned(rows))
    if kind == "hecto" and not options.quick:
        command = f"./hecto bench realtime --soak{' --nginx' * plan.nginx} --sockets {plan.sockets}"
        page = report.write(
            "realtime-soak",
            f"{plan.sockets:,} connections held for {plan.minutes:g} minutes",
            f"{command} --instances {plan.instances} --minutes {plan.minutes:g}",
            {"server": name, "figures": found},
            [report.table(rows), soak.ABOUT.format(way=soak.THROUGH if plan.nginx else soak.STRAIGHT)],
        )
        say(f"  {page.relative_to(ROOT)}")
    if found["lost"] or found["repeated"] or found["reordered"]:
        raise Failure(
            f"{found['lost']} events were lost, {found['repeated']} repeated, {found['reordered']} out of order",
            advice="none may be while nothing fails: the figures above are those of a broken run",
        )


@contextmanager
def _fleets(kinds: list[str], most: int) -> Iterator[list[Fleet]]:
    """Servers with their Redis, all without instances; their logs are kept when something goes wrong."""
    directory = scratch()
    try:
        with ExitStack() as running:
            fleets = []
            for kind in kinds:
                fleets.append(KINDS[kind](directory / kind, most))
                running.callback(fleets[-1].close)
            yield fleets
    except BaseException:
        say(f"  The logs of all servers are in {directory}")
        raise
    shutil.rmtree(directory)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="./hecto bench realtime", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    plan = soak.Plan()
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="turns of each server (default %(default)s)")
    parser.add_argument(
        "--fleets",
        type=_fleet_sizes,
        default=Size().fleets,
        metavar="N,N,...",
        help="how many instances run where an emit is measured, at least 4 (default 4,10,100)",
    )
    parser.add_argument("--quick", action="store_true", help="one small round, to see that it works; keeps nothing")
    parser.add_argument("--only", action="append", choices=KINDS, help="this server; may be given several times")
    parser.add_argument("--soak", action="store_true", help="hold many connections of one server, Hecto by default")
    parser.add_argument("--nginx", action="store_true", help="soak Hecto through nginx as its role configures it")
    parser.add_argument("--sockets", type=int, default=plan.sockets, help="of the soak (default %(default)s)")
    parser.add_argument("--instances", type=int, default=plan.instances, help="of the soak (default %(default)s)")
    parser.add_argument("--minutes", type=float, default=plan.minutes, help="of the soak (default %(default)s)")
    options = parser.parse_args()
    if options.rounds < 1:
        parser.error("--rounds must be at least 1")
    if options.soak and options.only and len(options.only) > 1:
        parser.error("--soak holds the connections of one server: give --only once")
    if options.nginx and (not options.soak or options.only not in (None, ["hecto"])):
        parser.error("--nginx is for the --soak of Hecto, whose configuration of nginx it is")
    if options.soak and not (options.sockets >= soak.MEMBERS and options.instances >= 1 and options.minutes > 0):
        parser.error(f"--soak needs at least {soak.MEMBERS} --sockets, an instance, and more than 0 --minutes")
    return options


def _fleet_sizes(text: str) -> tuple[int, ...]:
    words = text.split(",")
    if not all(word.isdecimal() and HEARING < int(word) < 900 for word in words):
        raise argparse.ArgumentTypeError(
            f"'{text}' must be numbers such as 4,10: {HEARING} instances hear and one more emits, and 899 have ports"
        )
    return tuple(sorted({int(word) for word in words}))


if __name__ == "__main__":
    sys.exit(main())
