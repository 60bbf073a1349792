"""The stages of ./hecto test: what each one proves and how it is run."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from control import packages
from control.assets import ensure_assets
from control.progress import step
from control.site import ROOT
from control.tools import environment, tool

TEST_SITE = "test"
SCENARIOS = {
    "default": "trixie",
    "bookworm": "bookworm",
    "deploy": "trixie",
    "backup": "trixie",
    "cluster": "trixie",
}
CLUSTER = "cluster"  # the scenario of several hosts, which run as many instances as those of ./hecto up --cluster
# Hosts that tests boot get ports that are free at that moment, so nothing of the machine's owner is in the way.
ANY_PORT = {"HECTO_HTTPS_PORT": "0", "HECTO_HTTP_PORT": "0", "HECTO_SSH_PORT": "0"}


@dataclass(frozen=True)
class Command:
    """One program of a stage."""

    words: list[str]
    env: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Stage:
    """A part of the tests that can be chosen by its name."""

    name: str
    about: str
    commands: Callable[[], list[Command]]
    needs_host: bool = False
    minutes: float = 10  # far above what it takes on 2 cores: a test that hangs must fail, not wait for CI's own limit


def lint() -> list[Command]:
    """Every linter, each with its own configuration in this repository."""
    found = [
        Command(["ruff", "check", "."]),
        Command(["ruff", "format", "--check", "."]),
        Command(["mypy"]),
        Command(["lint-imports"], {"PYTHONPATH": str(ROOT / "app")}),
        Command(["yamllint", "--strict", "."]),
        # Collections come with the ansible package, so nothing has to be fetched.
        Command(["ansible-lint", "--offline", "--strict"]),
        Command(["djlint", "app/hecto", "--lint"]),
        Command([str(tool("python")), "-m", "control.migrations"], {"PYTHONPATH": f"{ROOT}:{ROOT / 'app'}"}),
    ]
    if shutil.which("shellcheck"):
        found.append(Command(["shellcheck", "--shell=sh", "control/release.sh"]))
        found.append(Command(["shellcheck", "hecto", ".ci/run"]))
    return found


def unit() -> list[Command]:
    """Tests of single parts and of the structure."""
    packages.install(packages.for_rules())
    return [_pytest("tests/unit", "tests/architecture", "-n", "auto")]


def integration() -> list[Command]:
    """Tests against PostgreSQL and Redis servers that they start themselves, with pages that name the built assets."""
    packages.install(packages.for_tests())
    _assets()
    return [_pytest("tests/integration", "-n", "auto")]


def site() -> list[Command]:
    """A whole site: up, again, scaled under load."""
    return [_up(), _pytest("tests/host", site=True)]


def browser() -> list[Command]:
    """The product as a person sees it."""
    packages.install(packages.for_tests() + packages.for_browser())
    _assets()
    return [_up(), _pytest("tests/e2e", site=True)]


def chaos() -> list[Command]:
    """Deploys, kills and restarts under load, with every answer held against the database."""
    return [_up(), _pytest("tests/chaos", site=True)]


def molecule(scenario: str) -> Callable[[], list[Command]]:
    """A scenario of molecule/ on an untouched host, and then what the host answers."""

    def commands() -> list[Command]:
        env = {
            "HECTO_NAME": f"molecule-{scenario}",
            "HECTO_SUITE": SCENARIOS[scenario],
            "HECTO_INSTANCES": "" if scenario == CLUSTER else "4",
            **ANY_PORT,
        }
        return [Command(["molecule", "test", "--scenario-name", scenario], env)]

    return commands


STAGES = (
    Stage("lint", "linters and type checks", lint),
    Stage("unit", "single parts and the structure", unit, minutes=15),
    Stage("integration", "the product on real PostgreSQL and Redis", integration, minutes=25),
    Stage("site", "./hecto up, again, scaled 4 to 12 to 4 under load", site, needs_host=True, minutes=20),
    Stage("e2e", "the product in a browser", browser, needs_host=True, minutes=20),
    Stage("chaos", "faults and deploys under load: nothing is lost", chaos, needs_host=True, minutes=20),
    Stage("molecule", "the playbook on an untouched Debian 13", molecule("default"), needs_host=True, minutes=20),
    Stage(
        "molecule-bookworm", "the playbook on an untouched Debian 12", molecule("bookworm"), needs_host=True, minutes=20
    ),
    Stage(
        "deploy",
        "releases deployed, refused and rolled back under load",
        molecule("deploy"),
        needs_host=True,
        minutes=25,
    ),
    Stage(
        "molecule-backup",
        "the database lost and restored, a bad DELETE undone",
        molecule("backup"),
        needs_host=True,
        minutes=20,
    ),
    Stage(
        "cluster",
        "three hosts that die under load: nothing is lost",
        molecule(CLUSTER),
        needs_host=True,
        minutes=30,
    ),
)
# What may be left when a run is interrupted.
TEST_SITES = (TEST_SITE, *(f"molecule-{scenario}" for scenario in SCENARIOS))
TEST_CLUSTER = f"molecule-{CLUSTER}"


def site_environment() -> dict[str, str]:
    """The environment of the site that tests share; a HECTO_ variable of the caller's own site has no say here."""
    return {"HECTO_NAME": TEST_SITE, "HECTO_SUITE": "", "HECTO_INSTANCES": "", **ANY_PORT}


def full_environment(command: Command) -> dict[str, str]:
    """The environment that a command of a stage runs in."""
    return {**os.environ, "HECTO_INSTANCES": "", **environment(), **command.env}


def _assets() -> None:
    with step("Browser's scripts and styles") as current:
        ensure_assets(current)


def _up() -> Command:
    return Command([str(ROOT / "hecto"), "up", "--instances", "4"], site_environment())


def _pytest(*words: str, site: bool = False) -> Command:
    directories = [word for word in words if not word.startswith("tests/") or Path(ROOT, word).is_dir()]
    return Command([str(tool("pytest")), *directories], site_environment() if site else {})
