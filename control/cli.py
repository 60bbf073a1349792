"""The commands of ./hecto and their options."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable

from control import host
from control.progress import Failure, say, step
from control.shell import locked
from control.release import as_json, ensure_release
from control.site import CACHE, SUITES, load_site

Handler = Callable[[argparse.Namespace], int]


def up(options: argparse.Namespace) -> int:
    """Make or start the host."""
    site = load_site()
    with locked(CACHE / "lock" / f"site-{site.name}", f"works on site '{site.name}'"):
        with step(f"Host {site.container} (Debian {site.suite})") as current:
            host.ensure_host(site, current)
    return 0


def destroy(options: argparse.Namespace) -> int:
    """Remove the host and all of its data."""
    site = load_site()
    with locked(CACHE / "lock" / f"site-{site.name}", f"works on site '{site.name}'"), step(f"Remove {site.container}"):
        host.remove_host(site)
    return 0


def release(options: argparse.Namespace) -> int:
    """Build the release of the present sources."""
    suite = options.suite or load_site().suite
    with step(f"Release for Debian {suite}") as current:
        made = ensure_release(suite, current)
    if options.json:
        print(json.dumps(as_json(made)))
    else:
        print(f"{made.id} {made.artifact}")
    return 0


def parser() -> argparse.ArgumentParser:
    """The command line."""
    top = argparse.ArgumentParser(prog="./hecto")
    commands = top.add_subparsers(metavar="COMMAND", required=True)
    one = commands.add_parser("up")
    one.add_argument("--host-only", action="store_true", help="boot the host and stop there")
    one.set_defaults(run=up)
    one = commands.add_parser("destroy")
    one.add_argument("--yes", action="store_true")
    one.set_defaults(run=destroy)
    one = commands.add_parser("release")
    one.add_argument("--suite", choices=SUITES)
    one.add_argument("--json", action="store_true")
    one.set_defaults(run=release)
    return top


def main(arguments: list[str] | None = None) -> int:
    """Run one command and return its exit code."""
    options = parser().parse_args(arguments)
    run: Handler = options.run
    try:
        return run(options)
    except Failure as failure:
        sys.stdout.flush()
        say(failure.render())
        return 1
    except KeyboardInterrupt:
        say("hecto: interrupted; the same command goes on where it stopped")
        return 130
