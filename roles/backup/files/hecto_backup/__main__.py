"""Backups of Hecto's database on this host: take, list, try and restore them. Installed as hecto-backup.

pgBackRest does the work; this says when, looks whether what comes back is whole, and measures how long it takes.
It needs Debian's Python alone, and /etc/hecto/backup.json, which role backup writes. Root or postgres runs it.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from host import STATE, Host, Trouble, write
from recovery import remove as remove_scratch
from recovery import restorable, restore, scratch, test
from taking import begin, begun, described, metrics, table, take

SETTINGS = Path("/etc/hecto/backup.json")


def main(arguments: list[str] | None = None) -> int:
    """Run a command; what programs read is JSON on standard output."""
    chosen = parser().parse_args(arguments)
    try:
        host = Host(json.loads(SETTINGS.read_text()))
        return run(host, chosen)
    except Trouble as trouble:
        print(f"hecto-backup: {trouble}.".replace("..", "."), file=sys.stderr)
    except OSError as error:
        print(f"hecto-backup: {error}. Role backup makes what it needs: run playbooks/site.yml", file=sys.stderr)
    return 1


def run(host: Host, chosen: argparse.Namespace) -> int:
    """Do what was asked for."""
    directory = Path(getattr(chosen, "directory", STATE / "scratch"))
    if chosen.command == "begun":
        return 0 if begun(host) else 1
    if chosen.command == "metrics":
        write(STATE / "metrics", metrics(host))
        return 0
    if chosen.command == "list":
        backups = described(host)
        print(json.dumps(backups) if chosen.json else table(backups))
        return 0
    if chosen.command == "verify":
        print(host.pgbackrest("verify", "--output=text", "--verbose"))
        return 0
    made = {
        "begin": lambda: begin(host),
        "take": lambda: take(host, full=chosen.type == "full"),
        "restorable": lambda: restorable(host, chosen.target),
        "restore": lambda: restore(host, chosen.target, chosen.timeline),
        "scratch": lambda: scratch(host, directory, chosen.target, chosen.timeline, keep=True),
        "remove-scratch": lambda: remove_scratch(host, directory),
        "test": lambda: test(host, directory),
    }[chosen.command]()
    print(json.dumps(made))
    return 0


def parser() -> argparse.ArgumentParser:
    """The command line."""
    top = argparse.ArgumentParser(prog="hecto-backup", description="Backups of Hecto's database.")
    commands = top.add_subparsers(dest="command", required=True)
    commands.add_parser("begin", help="make the repository ready for this database")
    commands.add_parser("begun", help="exit code 0 when that is done")
    one = commands.add_parser("take", help="take a backup")
    one.add_argument(
        "--type", choices=("full", "incremental"), default="incremental", help="everything, or what has changed"
    )
    one = commands.add_parser("list", help="show every backup")
    one.add_argument("--json", action="store_true", help="for programs")
    commands.add_parser("verify", help="read the whole repository and compare its checksums")
    one = commands.add_parser("restorable", help="see that a restore could begin; touches nothing")
    one.add_argument("target", help="latest, or a point in time")
    one = commands.add_parser(
        "restore", help="replace this database; use playbooks/restore.yml, which stops the fleet first"
    )
    one.add_argument("target", help="latest, or a point in time such as 2026-11-29 10:00:00+00")
    texts = {
        "scratch": "restore beside this database, and leave it running to look into",
        "remove-scratch": "end and remove what scratch has made",
        "test": "restore the latest, look whether it is whole, remove it, write down how long it took",
    }
    history = "number of another line of history than the newest: each restore began one"
    one.add_argument("--timeline", default="", help=history)
    for name, text in texts.items():
        one = commands.add_parser(name, help=text)
        one.add_argument("--directory", default=str(STATE / "scratch"), help="where (default: %(default)s)")
        if name == "scratch":
            one.add_argument("--timeline", default="", help=history)
            one.add_argument("target", nargs="?", default="latest", help="latest, or a point in time")
    commands.add_parser("metrics", help="write what the node exporter reads")
    return top


if __name__ == "__main__":
    sys.exit(main())
