"""The releases of a run: one like the present sources, and three that must be refused, built before the load begins."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass

from control.site import Site
from control.variant import variant

NEXT = "next"
BROKEN = ("does not import", "never ready", "answers 500")
# One that never gets ready is waited for as long as a slow machine may take, which is for the long run.
QUICKLY_REFUSED = ("does not import", "answers 500")
BUILD_SECONDS = 600


@dataclass(frozen=True)
class Built:
    """A release that is there, and the command by which a playbook finds it."""

    kind: str
    id: str
    command: list[str]


def build(kind: str, site: Site) -> Built:
    """Build the release of a variant of the present sources, unless it is there."""
    command = [str(variant(kind) / "hecto"), "release"]
    done = subprocess.run(
        [*command, "--suite", site.suite, "--json"], capture_output=True, text=True, check=False, timeout=BUILD_SECONDS
    )
    if done.returncode != 0:
        raise AssertionError(f"the release '{kind}' cannot be built:\n{done.stderr[-2000:]}")
    return Built(kind, json.loads(done.stdout)["id"], command)
