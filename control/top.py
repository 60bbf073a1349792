"""./hecto top: the hosts of a site live in a terminal.

Each host tells of itself, by its own `hecto-fleet top` over ssh; it is drawn here, by the same code as there. So no
terminal is needed on the other side, and several hosts can be put side by side.
"""

from __future__ import annotations

import shlex
import subprocess
import sys

from control import host
from control.site import ROOT, Site

FLEET = "/opt/hecto/current/bin/hecto-fleet"


def show(site: Site, *, as_json: bool, once: bool, every: float) -> int:
    """Show the site until q or Ctrl-C, or once; returns an exit code."""
    host.require_running(site)
    once = once or as_json or not sys.stdout.isatty()
    if once and not site.is_cluster:
        return subprocess.run(host.ssh_command(site, _words("--json" if as_json else "--once")), check=False).returncode
    # The code that draws needs nothing but Python, and nothing else here needs that code.
    sys.path.append(str(ROOT / "app"))
    from hecto.fleet.top import several

    words = _words("--follow", f"--every={every:g}")
    commands = {one.container: host.ssh_command(site, words, of=one) for one in site.hosts}
    return several.watch(commands, once=once, as_json=as_json)


def _words(*options: str) -> str:
    return shlex.join([FLEET, "top", *options])
