"""The commands of ./hecto and their options."""

from __future__ import annotations

import argparse
import json
import shlex
import subprocess
import sys
import textwrap
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

from control import backups, deploy, host, operations, playbook
from control import logs as journal
from control.bench import BENCHES, run_bench
from control.podman import inspect, running
from control.progress import Failure, say, step
from control.release import as_json, ensure_release
from control.shell import denied, locked
from control.site import CACHE, CLUSTER_HOSTS, INVENTORIES, SUITES, Host, Site, load_site
from control.stages import STAGES
from control.testing import run_tests
from control.tools import ensure_tools
from control.top import show

Handler = Callable[[argparse.Namespace], int]
# Adds a command: its name, what it runs and what it is for.
Adder = Callable[[str, Handler, str], argparse.ArgumentParser]
FLEET = "/opt/hecto/current/bin/hecto-fleet"
# Inventories of the sites that ./hecto makes.
LOCAL = ("local", "local-cluster")

ABOUT = """\
Hecto on this machine. `./hecto up` makes a Debian host in a container, puts PostgreSQL, Redis, nginx and a fleet of
application instances on it with Ansible, and prints the address and how to sign in. Repeating it changes nothing.
`./hecto up --cluster` does the same with three hosts, of which each may fail.
"""
MORE = """\
environment:
  HECTO_NAME         name of the site, default local; several sites can exist side by side, on different ports
  HECTO_HTTPS_PORT   8443, and HECTO_HTTP_PORT 8080, HECTO_SSH_PORT 2222: ports of a new site, on 127.0.0.1 only
  HECTO_SUITE        trixie (Debian 13, the default) or bookworm (Debian 12): of a new site's host
  HECTO_DEBIAN_MIRROR  a Debian mirror of your own for new images

State is in .hecto/NAME/ (keys, secrets, credentials.json, log/), caches are in .hecto/cache/.
To deploy to a real machine, see README.md: ansible-playbook -i inventory/single playbooks/site.yml
"""


def up(options: argparse.Namespace) -> int:
    """Bring the site up."""
    site = load_site(size=CLUSTER_HOSTS if options.cluster else None)
    with _alone(site):
        if options.host_only:
            host.ensure_hosts(site)
            return 0
        credentials = deploy.bring_up(site, options.instances)
    deploy.show_credentials(load_site(), credentials)
    return 0


def down(options: argparse.Namespace) -> int:
    """Stop the hosts; their data stays."""
    site = load_site()
    with _alone(site):
        if not any(running(one.container) for one in site.hosts):
            say(f"  Site '{site.name}' does not run.")
            return 0
        with step(f"Stop {_names(site)}"):
            host.stop_hosts(site)
    say("  Its data is kept; ./hecto up starts it again.")
    return 0


def destroy(options: argparse.Namespace) -> int:
    """Remove the hosts and all of their data, after a question."""
    site = load_site()
    if not site.directory.exists() and inspect(site.container) is None:
        say(f"  There is no site '{site.name}'.")
        return 0
    if not options.yes:
        if not sys.stdin.isatty():
            raise Failure(
                "destroy removes the database and asks first, but nobody can answer here",
                advice="./hecto destroy --yes",
            )
        say(
            f"This removes {_names(site)} with the database, and all secrets in {site.directory}. There is no way back."
        )
        if input(f"Type the name of the site ({site.name}) to go on: ").strip() != site.name:
            say("Nothing was removed.")
            return 1
    with _alone(site), step(f"Remove {_names(site)}"):
        host.remove_hosts(site)
    return 0


def roll_out(options: argparse.Namespace) -> int:
    """Move the fleet to the release of the present sources."""
    site = load_site()
    with _alone(site, wait=False):
        operations.deploy(site, take_over=options.take_over)
    return 0


def restart(options: argparse.Namespace) -> int:
    """Restart every instance, a batch at a time."""
    site = load_site()
    with _alone(site, wait=False):
        operations.restart(site, take_over=options.take_over)
    return 0


def rollback(options: argparse.Namespace) -> int:
    """Move the fleet back to a release that is still on the host."""
    site = load_site()
    with _alone(site, wait=False):
        operations.roll_back(site, options.release or "", take_over=options.take_over)
    return 0


def scale(options: argparse.Namespace) -> int:
    """Run more or fewer instances."""
    site = load_site()
    with _alone(site, wait=False):
        operations.scale(site, options.instances, take_over=options.take_over)
    return 0


def history(options: argparse.Namespace) -> int:
    """Show who did what to the fleet."""
    return _remote(_one(options), [FLEET, "history", *(["--json"] if options.json else [])])


def status(options: argparse.Namespace) -> int:
    """Show every instance; exit code 1 where one is not ready."""
    flags = [flag for flag, wanted in (("--json", options.json), ("--watch", options.watch)) if wanted]
    site = _running()
    if options.watch or len(site.hosts) == 1:
        # A terminal on the other side makes --watch redraw instead of scroll.
        return _remote(_one(options), [FLEET, "status", *flags], tty=options.watch and sys.stdout.isatty())
    codes = []
    for one in [_one(options)] if options.host else site.hosts:
        if not options.json:
            print(f"{one.container} ({one.address})", flush=True)
        codes.append(_remote(one, [FLEET, "status", *flags]))
    return max(codes)


def top(options: argparse.Namespace) -> int:
    """Show hosts, instances, PostgreSQL and Redis live."""
    return show(load_site(), as_json=options.json, once=options.once, every=options.every)


def logs(options: argparse.Namespace) -> int:
    """Show the journal of the fleet, of one instance, or of one request."""
    words = journal.journal_command(
        instance=options.instance, request=options.request, lines=options.lines, follow=options.follow
    )
    site = _running()
    # A request may have been at any host.
    hosts = site.hosts if options.request and not options.host else [_one(options)]
    return max(journal.show(host.ssh_command(site, shlex.join(words), of=one), raw=options.json) for one in hosts)


def execute(options: argparse.Namespace) -> int:
    """Run a command on a host as root."""
    words = options.words[1:] if options.words[:1] == ["--"] else options.words
    if not words:
        raise Failure("exec needs a command", advice="for example: ./hecto exec -- systemctl list-units 'hecto@*'")
    return _remote(_one(options), words, tty=sys.stdin.isatty() and sys.stdout.isatty())


def plan(options: argparse.Namespace) -> int:
    """Print the computed plan of an inventory, without touching a host."""
    inventory = Path(options.inventory).resolve()
    if not inventory.exists():
        raise Failure(f"there is no inventory {inventory}", advice="try: ./hecto plan -i inventory/single")
    if inventory.parent == INVENTORIES and inventory.name in LOCAL and not load_site().saved:
        raise Failure(
            f"inventory/{inventory.name} describes a site of this machine, and there is none yet",
            advice="./hecto up makes it",
        )
    ensure_tools()
    for name, text in playbook.plans(inventory, load_site()).items():
        print(f"{name}\n{textwrap.indent(text, '  ')}\n")
    return 0


def release(options: argparse.Namespace) -> int:
    """Build the release of the present sources."""
    suite = options.suite or load_site().suite
    with step(f"Release for Debian {suite}") as current:
        made = ensure_release(suite, current)
    print(json.dumps(as_json(made)) if options.json else f"{made.id} {made.artifact}")
    return 0


def test(options: argparse.Namespace) -> int:
    """Run the tests, all that CI runs or a part."""
    return run_tests(options.stages, fast=options.fast, keep=options.keep)


def bench(options: argparse.Namespace) -> int:
    """Measure something on a site of its own; the results go to bench/results."""
    return run_bench(options.name, options.words)


def _alone(site: Site, *, wait: bool = True) -> AbstractContextManager[None]:
    return locked(CACHE / "lock" / f"site-{site.name}", f"works on site '{site.name}'", wait=wait)


def _names(site: Site) -> str:
    return ", ".join(one.container for one in site.hosts)


def _running() -> Site:
    site = load_site()
    host.require_running(site)
    return site


def _one(options: argparse.Namespace) -> Host:
    """The host that a command is for: the first, or the one with the number that was given."""
    hosts, number = load_site().hosts, int(options.host) or 1
    if not 1 <= number <= len(hosts):
        raise Failure(f"there is no host {number}", advice=f"this site has {len(hosts)}")
    return hosts[number - 1]


def _remote(one: Host, words: list[str], *, tty: bool = False) -> int:
    command = host.ssh_command(_running(), shlex.join(words), tty=tty, of=one)
    return subprocess.run(command, check=False).returncode


def parser() -> argparse.ArgumentParser:
    """The command line."""
    whole = argparse.ArgumentParser(
        prog="./hecto", description=ABOUT, epilog=MORE, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = whole.add_subparsers(metavar="COMMAND", required=True)

    def command(name: str, run: Handler, text: str) -> argparse.ArgumentParser:
        one = commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
        one.set_defaults(run=run)
        return one

    _for_the_site(command)
    _for_looking(command)
    _for_the_fleet(command)
    _for_the_proof(command)
    return whole


def _for_the_site(command: Adder) -> None:
    """What makes a site, and what it is made of."""
    one = command("up", up, "make or start the site and bring it to what the sources say")
    one.add_argument(
        "--instances", type=_instances, metavar="N", help="instances to run, remembered for the next time (default 4)"
    )
    one.add_argument("--cluster", action="store_true", help="a site of three hosts, which can lose any of them")
    one.add_argument("--host-only", action="store_true", help="boot the hosts and put nothing on them")
    command("down", down, "stop the host; its data stays")
    one = command("destroy", destroy, "remove the host and its data; asks first")
    one.add_argument("--yes", action="store_true", help="do not ask")
    one = command("plan", plan, "print how an inventory's hosts would be shared out, without touching one")
    one.add_argument("-i", "--inventory", required=True, metavar="INVENTORY", help="for example inventory/single")
    one = command("release", release, "build the release that hosts install; the playbook does it by itself")
    one.add_argument("--suite", choices=SUITES, help="Debian release to build for (default: the site's)")
    one.add_argument("--json", action="store_true", help="for programs")


def _for_looking(command: Adder) -> None:
    """What shows how a site is."""
    one = command("status", status, "show every instance; exit code 1 where one is not ready")
    one.add_argument("--json", action="store_true", help="for programs")
    one.add_argument("--watch", action="store_true", help="one host again every second, until Ctrl-C")
    _of_host(one, "all")
    one = command("top", top, "show the hosts, their instances, PostgreSQL and Redis live: load, slow queries, locks")
    one.add_argument("--json", action="store_true", help="one snapshot, for programs")
    one.add_argument("--once", action="store_true", help="one look and no more")
    one.add_argument("--every", type=_pause, default=2.0, metavar="S", help="seconds between two looks (default 2)")
    one = command("history", history, "show who deployed, restarted, rolled back or scaled, and how it ended")
    one.add_argument("--json", action="store_true", help="for programs")
    _of_host(one)
    one = command("logs", logs, "show what the instances say")
    one.add_argument(
        "instance", nargs="?", type=_instances, metavar="INSTANCE", help="number of one instance (default: all)"
    )
    one.add_argument(
        "--request", default="", metavar="ID", help="what nginx, the instances and PostgreSQL say of one request"
    )
    one.add_argument("--json", action="store_true", help="for programs: as journalctl --output=json gives it")
    one.add_argument("--follow", action="store_true", help="go on showing new lines, until Ctrl-C")
    one.add_argument("--lines", type=int, default=100, metavar="N", help="how many of the latest lines (default 100)")
    _of_host(one)
    one = command("exec", execute, "run a command on a host as root")
    _of_host(one)
    one.add_argument("words", nargs=argparse.REMAINDER, metavar="-- COMMAND")


def _for_the_fleet(command: Adder) -> None:
    """What changes a site that people work on."""
    one = command("deploy", roll_out, "move the fleet to the release of these sources, without a failed request")
    _taking_over(one)
    _taking_over(command("restart", restart, "restart every instance, a batch at a time, without a failed request"))
    one = command("rollback", rollback, "move the fleet back to a release that is still on the host")
    one.add_argument(
        "release", nargs="?", metavar="RELEASE", help="which one (default: the last good one before the current)"
    )
    _taking_over(one)
    one = command("scale", scale, "run more or fewer instances, without a failed request; remembered for the next time")
    one.add_argument("instances", type=_instances, metavar="N", help="how many")
    _taking_over(one)
    backups.register(command, _alone)


def _for_the_proof(command: Adder) -> None:
    """What proves and measures."""
    one = command("test", test, "run everything that CI runs")
    one.add_argument(
        "stages", nargs="*", metavar="STAGE", help=f"only these of: {', '.join(stage.name for stage in STAGES)}"
    )
    one.add_argument("--fast", action="store_true", help="leave out what needs a host")
    one.add_argument("--keep", action="store_true", help="keep the hosts of the tests, to look at them")
    one = command("bench", bench, "measure on a site of its own what takes long; writes bench/results")
    one.add_argument("name", choices=sorted(BENCHES))
    one.add_argument("words", nargs=argparse.REMAINDER, metavar="OPTION", help="its own options; --help shows them")


def _taking_over(one: argparse.ArgumentParser) -> None:
    one.add_argument("--take-over", action="store_true", help="end the claim of another run that is known to be dead")


def _of_host(one: argparse.ArgumentParser, default: str = "the first") -> None:
    one.add_argument(
        "--host", type=int, default=0, metavar="N", help=f"number of one host of a cluster (default: {default})"
    )


def _pause(text: str) -> float:
    if not text.replace(".", "", 1).isdecimal() or not 1 <= float(text) <= 3600:
        raise argparse.ArgumentTypeError(f"'{text}' is not a number of seconds from 1 to 3600")
    return float(text)


def _instances(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 999:
        raise argparse.ArgumentTypeError(f"'{text}' is not a number from 1 to 999")
    return int(text)


def main(arguments: list[str] | None = None) -> int:
    """Run one command and return its exit code."""
    options = parser().parse_args(arguments)
    unknown = set(getattr(options, "stages", [])) - {stage.name for stage in STAGES}
    if unknown:
        parser().error(
            f"no such stage: {', '.join(sorted(unknown))}; there are {', '.join(stage.name for stage in STAGES)}"
        )
    run: Handler = options.run
    try:
        return run(options)
    except (Failure, OSError) as error:
        sys.stdout.flush()
        say((denied(error) if isinstance(error, OSError) else error).render())
        return 1
    except KeyboardInterrupt:
        say("hecto: interrupted; the same command goes on where it stopped")
        return 130
