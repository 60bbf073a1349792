"""hecto-fleet: the command line."""

import argparse
import json
import os
import sys
from collections.abc import Iterable, Sequence
from typing import Any

from hecto.fleet import commands, releases
from hecto.fleet.errors import INTERRUPTED, FleetError, UsageError
from hecto.fleet.host import Patience
from hecto.fleet.layout import Layout
from hecto.fleet.supervisor import Supervisor, Systemd

_EXIT_CODES = (
    "exit codes: 0 done, 1 instances not ready, 2 wrong usage, 3 another run or deploy is at work, "
    "4 failed and needs a person, 5 failed and everything is back on what it ran before"
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit code says how it went."""
    return run(parser().parse_args(arguments), Layout(), Systemd())


def run(options: argparse.Namespace, layout: Layout, supervisor: Supervisor) -> int:
    """Run a parsed command against a host."""
    try:
        if os.geteuid() != 0 and isinstance(supervisor, Systemd):
            raise UsageError("hecto-fleet reads sockets and starts units that belong to root. Run it with sudo.")
        return int(options.command(options, layout, supervisor))
    except FleetError as error:
        if options.json:
            print(json.dumps({"changed": False, **error.details, "error": str(error), "exit_code": error.code}))
        commands.say(f"hecto-fleet: {error}")
        return error.code
    except KeyboardInterrupt:
        commands.say("hecto-fleet: interrupted. What was begun is remembered: the same command goes on with it.")
        return INTERRUPTED


def parser() -> argparse.ArgumentParser:
    """The command line's grammar."""
    whole = argparse.ArgumentParser(prog="hecto-fleet", description="The instances of this host.", epilog=_EXIT_CODES)
    grammar = whole.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, does: Any, text: str) -> argparse.ArgumentParser:
        sub = grammar.add_parser(name, help=text, description=text, epilog=_EXIT_CODES)
        sub.set_defaults(command=does, name=name)
        sub.add_argument("--json", action="store_true", help="one JSON object on standard output")
        return sub

    status = command("status", commands.status, "show every instance, and what a roll or a deploy is at")
    status.add_argument("--watch", action="store_true", help="again every second until interrupted")
    top = command("top", _top, "show the host, its instances, PostgreSQL and Redis, live")
    top.add_argument("--every", type=_pause, default=2.0, metavar="S", help="between two looks; default %(default)g s")
    top.add_argument("--once", action="store_true", help="one look and no more, as in a pipe")
    top.add_argument("--follow", action="store_true", help="one JSON object a line, until nobody reads it")
    history = command("history", commands.history, "show who changed the fleet, when and how it went")
    history.add_argument("--lines", type=int, default=0, metavar="N", help="the latest only; default: all")

    apply = command("apply", commands.apply, "start missing instances, drain and stop surplus ones, restart none")
    apply.add_argument("--instances", type=int, required=True, metavar="N")
    apply.add_argument("--release", metavar="ID", help="for instances to start; default: the current one")

    roll = command("roll", commands.roll, "move instances that run an old release, environment, secret or unit")
    roll.add_argument("--release", metavar="ID", help="default: the current one")
    roll.add_argument("--all", action="store_true", help="also those that run what they should")
    roll.add_argument("--instances", type=_numbers, metavar="N,N", help="only these, as one batch of a larger roll")
    roll.add_argument("--batch", type=int, metavar="N", help="so many at a time; default: a tenth of the fleet")

    activate = command("activate", commands.activate, "make an unpacked release current, link its assets, prune")
    finish = command("finish", commands.finish, "remember that this host runs a release well, end the claim, prune")
    for sub in (activate, finish):
        sub.add_argument("--release", metavar="ID", required=True)
        sub.add_argument(
            "--keep", type=int, default=releases.KEEP, metavar="N", help="old releases; default %(default)s"
        )

    claim = command("claim", commands.claim, "take the host for a deploy or a restore; others are refused meanwhile")
    claim.add_argument("--release", metavar="ID", help="where the deploy goes to")
    claim.add_argument(
        "--seconds", type=float, default=600, metavar="S", help="until it ends by itself; default %(default)g s"
    )
    claim.add_argument("--take-over", action="store_true", help="although another has it")
    unclaim = command("unclaim", commands.unclaim, "give the host back")
    unclaim.add_argument(
        "--failed", metavar="WHY", help="why the run that ends here did not get there, for the history"
    )
    secrets = command("secrets", commands.secrets, "write secrets, a JSON object of names and values on standard input")

    _looking((apply, roll, activate, finish, secrets))
    _signing((apply, roll, activate, finish, claim, unclaim, secrets))
    _waiting((apply, roll, finish))
    return whole


def _top(options: argparse.Namespace, layout: Layout, supervisor: Supervisor) -> int:
    # Only when it is asked for: every other command is run by playbooks, many times, and starts without it.
    from hecto.fleet.top.command import top

    return top(options, layout, supervisor)


def _looking(subs: Iterable[argparse.ArgumentParser]) -> None:
    for sub in subs:
        sub.add_argument(
            "--check", "--dry-run", "--plan-only", action="store_true", help="say what would change, change nothing"
        )


def _signing(subs: Iterable[argparse.ArgumentParser]) -> None:
    for sub in subs:
        sub.add_argument("--who", metavar="NAME", help="for others and the history; default: the user behind sudo")
        sub.add_argument("--run", default="", metavar="ID", help="tells one deploy of the same person from another")
        sub.add_argument(
            "--what", metavar="RUN", help="a step of what, for the history: deploy, rollback, restart, scale, restore"
        )


def _waiting(subs: Iterable[argparse.ArgumentParser]) -> None:
    texts = {
        "--ready-timeout": (Patience.ready, "for a start"),
        "--drain-timeout": (Patience.drain, "for requests in hand"),
        "--canary-seconds": (Patience.canary, "that a canary is watched"),
    }
    for sub in subs:
        for name, (default, text) in texts.items():
            sub.add_argument(name, type=float, default=default, metavar="S", help=f"{text}; default %(default)g s")


def _pause(text: str) -> float:
    if not text.replace(".", "", 1).isdecimal() or not 1 <= float(text) <= 3600:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds from 1 to 3600")
    return float(text)


def _numbers(text: str) -> list[int]:
    parts = text.split(",")
    if not all(part.isdecimal() for part in parts):
        raise argparse.ArgumentTypeError(f"{text!r} is no list of numbers, such as 1,2")
    return sorted({int(part) for part in parts})


if __name__ == "__main__":
    sys.exit(main())
