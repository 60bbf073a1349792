"""hecto-fleet: the command line."""

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from hecto.fleet import apply as applying
from hecto.fleet import releases, secrets, snapshot, table
from hecto.fleet import roll as rolling
from hecto.fleet.errors import NOT_READY, OK, FleetError, UsageError
from hecto.fleet.layout import Layout
from hecto.fleet.lock import exclusive
from hecto.fleet.supervisor import Supervisor, Systemd
from hecto.fleet.wait import Patience

_EXIT_CODES = "exit codes: 0 done, 1 instances not ready, 2 wrong usage, 3 another run is at work, 4 failed"


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
            print(json.dumps({"changed": False, "error": str(error), "exit_code": error.code}))
        print(f"hecto-fleet: {error}", file=sys.stderr)
        return error.code


def parser() -> argparse.ArgumentParser:
    """The command line's grammar."""
    top = argparse.ArgumentParser(prog="hecto-fleet", description="The instances of this host.", epilog=_EXIT_CODES)
    commands = top.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, does: Any, text: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=text, description=text, epilog=_EXIT_CODES)
        sub.set_defaults(command=does)
        sub.add_argument("--json", action="store_true", help="one JSON object on standard output")
        return sub

    def changing(sub: argparse.ArgumentParser) -> None:
        sub.add_argument("--check", action="store_true", help="say what would change, change nothing")

    def waiting(sub: argparse.ArgumentParser) -> None:
        sub.add_argument(
            "--ready-timeout", type=float, default=Patience.ready, metavar="S", help="default %(default)g s"
        )
        sub.add_argument(
            "--drain-timeout", type=float, default=Patience.drain, metavar="S", help="default %(default)g s"
        )

    status = command("status", _status, "show every instance")
    status.add_argument("--watch", action="store_true", help="again every second until interrupted")

    apply = command("apply", _apply, "start missing instances, drain and stop surplus ones, restart none")
    apply.add_argument("--instances", type=int, required=True, metavar="N")
    apply.add_argument("--release", metavar="ID", help="for instances to start; default: the current one")

    roll = command("roll", _roll, "restart instances that run an old release, environment, secret or unit")
    roll.add_argument("--release", metavar="ID", help="default: the current one")
    roll.add_argument("--all", action="store_true", help="also those that run what they should")
    for sub in (apply, roll):
        changing(sub)
        waiting(sub)

    activate = command("activate", _activate, "make an unpacked release current, link its assets, remove old releases")
    activate.add_argument("--release", metavar="ID", required=True)
    activate.add_argument("--keep", type=int, default=releases.KEEP, metavar="N", help="default %(default)s")
    changing(activate)

    changing(command("secrets", _secrets, "write secrets, a JSON object of names and values on standard input"))
    return top


def _status(options: argparse.Namespace, layout: Layout, supervisor: Supervisor) -> int:
    while True:
        now = snapshot.take(layout, supervisor)
        if options.watch and sys.stdout.isatty():
            print("\033[H\033[2J", end="")
        print(json.dumps(now.as_json()) if options.json else table.render(now), flush=True)
        if not options.watch:
            return OK if now.ready else NOT_READY
        try:
            time.sleep(1)
        except KeyboardInterrupt:
            return OK


def _apply(options: argparse.Namespace, layout: Layout, supervisor: Supervisor) -> int:
    release = options.release or _current(layout)
    with _alone(options, layout):
        done = applying.apply(
            layout,
            supervisor,
            options.instances,
            release,
            check=options.check,
            patience=_patience(options),
            say=_say,
        )
    would = "would " if options.check else ""
    parts = [
        f"{would}{verb} {applying.spell(numbers)}"
        for verb, numbers in (("start", done.start), ("stop", done.stop), ("resume", done.resume))
        if numbers
    ]
    lines = ["; ".join(parts) or f"{options.instances} instances run, nothing to do"]
    if done.due:
        lines.append(table.roll_due(done.due))
    _report(options, done.as_json() | {"message": lines[-1] if done.due else ""}, "\n".join(lines))
    return OK


def _roll(options: argparse.Namespace, layout: Layout, supervisor: Supervisor) -> int:
    release = options.release or _current(layout)
    with _alone(options, layout):
        done = rolling.roll(
            layout,
            supervisor,
            release,
            every=options.all,
            check=options.check,
            patience=_patience(options),
            say=_say,
        )
    would = "would restart" if options.check else "restarted"
    text = f"{would} {applying.spell(done.moved)} on {release}" if done.moved else "no roll is due, nothing to do"
    _report(options, done.as_json(), text)
    return OK


def _activate(options: argparse.Namespace, layout: Layout, _: Supervisor) -> int:
    with _alone(options, layout):
        done = releases.activate(layout, options.release, keep=options.keep, check=options.check)
    removed = f", removed {' '.join(done.removed)}" if done.removed else ""
    _report(options, done.as_json(), f"{options.release} is current{removed}")
    return OK


def _secrets(options: argparse.Namespace, layout: Layout, _: Supervisor) -> int:
    try:
        wanted = dict(json.load(sys.stdin))
    except (ValueError, TypeError):
        # Without the parser's own words: they would quote a part of the input.
        raise UsageError("Standard input is not a JSON object of names and values. No secret was written.") from None
    changed = secrets.write(layout.secrets, wanted, check=options.check)
    _report(options, {"changed": bool(changed), "names": changed}, "changed: " + (" ".join(changed) or "none"))
    return OK


def _alone(options: argparse.Namespace, layout: Layout) -> AbstractContextManager[None]:
    # Looking is allowed while another run is at work.
    return nullcontext() if options.check else exclusive(layout.lock)


def _current(layout: Layout) -> str:
    release = layout.current_release()
    if not release:
        raise UsageError(f"No release is current ({layout.current} is not there). Run the playbook site.yml first.")
    return release


def _patience(options: argparse.Namespace) -> Patience:
    return Patience(ready=options.ready_timeout, drain=options.drain_timeout)


def _say(text: str) -> None:
    # Progress goes beside the result, so that standard output stays one JSON object.
    print(text, file=sys.stderr, flush=True)


def _report(options: argparse.Namespace, result: dict[str, Any], text: str) -> None:
    print(json.dumps(result) if options.json else text)


if __name__ == "__main__":
    sys.exit(main())
