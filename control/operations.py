"""What is done to a site that runs: move it to a release, restart it, take it back, change its size."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping

from control import host, packages
from control.playbook import run_playbook
from control.progress import say, step
from control.release import ensure_release
from control.shell import attempt
from control.site import Host, Site
from control.tools import ensure_tools


def deploy(site: Site, *, take_over: bool = False) -> None:
    """Move the fleet to the release of the present sources."""
    _ready(site)
    packages.install(packages.for_releases())
    with step("Release") as current:
        release = ensure_release(site.suite, current)
        current.title += f" {release.id}: {'built' if release.built else 'there'}"
    changed = run_playbook("rolling-deploy.yml", _variables(hecto_take_over=take_over), site)
    _tell(site, changed)


def restart(site: Site, *, take_over: bool = False) -> None:
    """Restart every instance on the release that it runs."""
    _ready(site)
    changed = run_playbook("rolling-restart.yml", _variables(hecto_take_over=take_over), site)
    _tell(site, changed)


def roll_back(site: Site, release: str, *, take_over: bool = False) -> None:
    """Move the fleet to a release that is still on the host."""
    _ready(site)
    variables = _variables(hecto_release=release, hecto_take_over=take_over)
    changed = run_playbook("rollback.yml", variables, site)
    _tell(site, changed)


def scale(site: Site, instances: int, *, take_over: bool = False) -> None:
    """Run more or fewer instances."""
    _ready(site)
    arguments = _variables(hecto_take_over=take_over)
    changed = run_playbook("scale.yml", arguments, site, {"HECTO_INSTANCES": str(instances)})
    # Only now: a number that the budget refuses must not be in the way of the next run.
    dataclasses.replace(site, instances=instances).save()
    _tell(site, changed)


def fleet(site: Site, of: Host) -> Mapping[str, object]:
    """What hecto-fleet status says on a host; empty where it says nothing."""
    done = attempt(host.ssh_command(site, "/opt/hecto/current/bin/hecto-fleet status --json", of=of))
    try:
        found: dict[str, object] = json.loads(done.stdout)
    except ValueError:
        return {}
    return found


def _ready(site: Site) -> None:
    ensure_tools()
    host.require_running(site)


def _variables(**values: object) -> list[str]:
    """Extra variables for a playbook, those alone that say something; as JSON they keep their types."""
    said = {name: value for name, value in values.items() if value}
    return ["--extra-vars", json.dumps(said)] if said else []


def _tell(site: Site, changed: int) -> None:
    states = [fleet(site, of) for of in site.hosts]
    number = sum(len(found) for state in states if isinstance(found := state.get("instances"), list))
    done = "Nothing had to be done" if not changed else "Done"
    releases = " and ".join(sorted({str(state.get("release")) for state in states}))
    say(f"  {done}: release {releases} serves on {number} instances. ./hecto status shows them.")
