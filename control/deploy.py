"""Bring a local site up: control machine, host, release, playbook, and a look at what came out."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shlex
import ssl
import time
import urllib.error
import urllib.request
from pathlib import Path

from control import packages
from control.host import ensure_hosts, keep_packages, ssh_command
from control.playbook import run_playbook
from control.progress import Failure, say, step
from control.release import ensure_release
from control.shell import attempt, output
from control.site import Site
from control.tools import ensure_tools

HEALTHY_SECONDS = 60  # nginx may just be reloading, and a host that was started a moment ago still starts its fleet


def bring_up(site: Site, instances: int | None = None) -> dict[str, str]:
    """Make or start the site, bring it to what the sources say, and return its first administrator's credentials."""
    packages.install(packages.for_hosts() + packages.for_releases())
    ensure_tools()
    site = ensure_hosts(site)
    with step("Release") as current:
        release = ensure_release(site.suite, current)
        current.title += f" {release.id}: {'built' if release.built else 'there'}"
    wanted = dataclasses.replace(site, instances=instances or site.instances)
    run_playbook("site.yml", [], site, {"HECTO_INSTANCES": str(wanted.instances)})
    # Only now: a number that the budget refuses must not be in the way of the next run.
    wanted.save()
    keep_packages(wanted)
    with step("The site answers") as current:
        credentials = write_credentials(wanted)
        _wait_until_healthy(wanted, Path(credentials["ca"]))
    return credentials


def show_credentials(site: Site, credentials: dict[str, str]) -> None:
    """Tell a person how to get in."""
    file = site.directory / "credentials.json"
    say()
    where = f" on each of {site.size} hosts" if site.is_cluster else ""
    say(f"  Hecto runs at  {credentials['url']}  with {site.instances} instances{where}")
    say(f"  Sign in as     {credentials['email']}")
    say(f"  Password       in {file} (python3 -m json.tool {_short(file)})")
    say(f"  Certificate    of this site's own authority: add {_short(Path(credentials['ca']))} to your browser")
    say()
    if due := _roll_due(site):
        say(
            f"  Instances that run something older: {len(due)}. They serve as before; this moves them to what is there:"
        )
        say(f"  ./hecto {'deploy' if any('release' in why for why in due) else 'restart'}")
        say()
    say("  ./hecto status shows the instances, ./hecto logs --follow what they say, ./hecto down stops it all.")


def _roll_due(site: Site) -> list[str]:
    """Why instances run something older than what was just brought to the hosts, one text for each."""
    found: list[str] = []
    for host in site.hosts:
        done = attempt(ssh_command(site, "/opt/hecto/current/bin/hecto-fleet status --json", of=host))
        try:
            found += [" ".join(one["reasons"]) for one in json.loads(done.stdout)["roll_due"]]
        except (ValueError, KeyError):
            raise Failure(
                f"hecto-fleet status on {host.container} gives no answer", tail=(done.stderr or done.stdout).strip()
            ) from None
    return found


def write_credentials(site: Site) -> dict[str, str]:
    """How to get in, kept in credentials.json in the site's directory for tools and tests."""
    line = output(ssh_command(site, "grep -h ^HECTO_ADMIN_EMAIL= /etc/hecto/hecto.env"))
    credentials = {
        "url": site.url,
        "email": shlex.split(line)[0].partition("=")[2],
        "password": (site.directory / "secrets" / "admin-password").read_text().split()[0],
        "ca": str(site.directory / "tls" / "ca.crt"),
    }
    file = site.directory / "credentials.json"
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as handle:
        handle.write(json.dumps(credentials, indent=2) + "\n")
    return credentials


def _wait_until_healthy(site: Site, ca: Path) -> None:
    context = ssl.create_default_context(cafile=str(ca))
    # Without proxies: the site is on this machine.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context))
    deadline = time.monotonic() + HEALTHY_SECONDS
    while True:
        try:
            with opener.open(f"{site.url}/api/health", timeout=10) as reply:
                health = json.load(reply)
            if health.get("status") == "OK":
                return
            problem = json.dumps(health)
        except (OSError, ValueError) as error:
            if isinstance(getattr(error, "reason", None), ssl.SSLCertVerificationError):
                deadline = 0.0  # waiting does not mend a certificate
            problem = error.read().decode(errors="replace") if isinstance(error, urllib.error.HTTPError) else str(error)
        if time.monotonic() > deadline:
            raise Failure(
                f"the playbook ended well, but {site.url}/api/health is not healthy",
                tail=re.sub(r"\s+", " ", problem)[:600],
                advice="./hecto status shows the instances, ./hecto logs what they say",
            )
        time.sleep(0.5)


def _short(file: Path) -> str:
    relative = os.path.relpath(file)
    return str(file) if relative.startswith("..") else relative
