"""./hecto bench: measurements that take long and write their results into bench/results."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

from control import packages
from control.site import ROOT
from control.tools import ensure_tools, environment, tool

# What can be measured, and the module that does it with the tools of .venv.
BENCHES = {
    "chaos": "tests.chaos.long",
    "cluster": "tests.cluster.long",
    "growth": "tests.cluster.growth",
    "realtime": "bench.realtime.run",
    "writes": "bench.writes",
}
# Those that need no server of this machine, but hosts.
ON_A_SITE = ("chaos", "cluster", "growth")
# A site of its own beside whatever runs here, called bench-NAME, on ports that are free.
SITE = {"HECTO_HTTPS_PORT": "0", "HECTO_HTTP_PORT": "0", "HECTO_SSH_PORT": "0", "HECTO_INSTANCES": ""}


def run_bench(name: str, options: Sequence[str]) -> int:
    """Run one of them, where it needs a site on one of its own; returns its exit code."""
    ensure_tools()
    if name not in ON_A_SITE:
        packages.install(packages.for_tests())
    if name == "realtime":
        packages.install(packages.for_peers())
    command: list[str | Path] = [tool("python"), "-m", BENCHES[name], *options]
    variables = {**os.environ, **environment(), **SITE, "PYTHONPATH": f"{ROOT}:{ROOT / 'app'}"}
    variables["HECTO_NAME"] = f"bench-{name}"
    return subprocess.run(command, cwd=ROOT, env=variables, check=False).returncode
