"""Debian packages of the control machine: what is missing is named, explained and installed."""

from __future__ import annotations

import os
import platform
import shutil
import sys
import sysconfig
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from control.podman import runtime
from control.progress import Failure, say, step
from control.shell import as_root, attempt, run
from control.site import CACHE

CHROMIUM = "/usr/bin/chromium"
LOCK_SECONDS = 300  # the machine's own daily update holds apt's lock for a minute or two


@dataclass(frozen=True)
class Need:
    """Packages for one purpose; they are there when all commands and files are."""

    why: str
    packages: tuple[str, ...]
    commands: tuple[str, ...] = ()
    files: tuple[str, ...] = ()

    @property
    def met(self) -> bool:
        """Whether nothing has to be installed. Servers live in sbin, which is not on everybody's PATH."""
        path = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])
        return all(shutil.which(name, path=path) for name in self.commands) and all(
            any(Path("/").glob(name)) for name in self.files
        )


def for_hosts() -> list[Need]:
    """What it takes to boot a local host and to reach it."""
    return [
        Need("to run local hosts in containers", ("podman", runtime()), ("podman", runtime())),
        Need(
            "the network of local hosts",
            ("netavark", "aardvark-dns", "iptables"),
            ("iptables",),
            ("usr/lib/podman/netavark",),
        ),
        Need("to make Debian images", ("mmdebstrap",), ("mmdebstrap",)),
        Need(
            "the keys that Debian's packages are signed with",
            ("debian-archive-keyring",),
            files=("usr/share/keyrings/debian-archive-keyring.*",),
        ),
        Need("to reach hosts", ("openssh-client",), ("ssh", "ssh-keygen")),
    ]


def for_releases() -> list[Need]:
    """What it takes to build a release beside containers. An installed Node.js is kept."""
    return [
        Need("to build the browser's scripts and styles", ("nodejs", "npm"), ("node", "npm")),
    ]


def for_tools() -> list[Need]:
    """What it takes to make .venv: one of its packages, psycopg2, is compiled."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    needs = [Need("to compile the PostgreSQL driver", ("gcc", "libc6-dev", "libpq-dev"), ("gcc", "pg_config"))]
    header = Path(sysconfig.get_path("include"), "Python.h")
    if not header.exists():
        needs.append(Need("to compile Python extensions", (f"python{version}-dev",), files=(str(header).lstrip("/"),)))
    try:
        import ensurepip  # noqa: F401
    except ImportError:
        needs.append(Need("to make a virtual environment", (f"python{version}-venv",)))
    return needs


def for_tests() -> list[Need]:
    """What the tests start by themselves on this machine."""
    return [
        Need("a PostgreSQL server that tests start", ("postgresql",), files=("usr/lib/postgresql/*/bin/postgres",)),
        Need("a Redis server that tests start", ("redis-server",), ("redis-server",)),
        Need("Sentinels that tests start", ("redis-sentinel",), ("redis-sentinel",)),
        Need("a proxy that tests start in front of Redis", ("haproxy",), ("haproxy",)),
        Need("a pooler that tests start in front of PostgreSQL", ("pgbouncer",), ("pgbouncer",)),
        Need("an nginx server that tests start", ("nginx-light",), ("nginx",)),
        Need("what moves addresses between hosts, which tests start", ("keepalived", "iproute2"), ("keepalived", "ip")),
    ]


def for_rules() -> list[Need]:
    """What tries the alert rules: the checkers that come with the servers. Neither server is started."""
    return [
        Need("to try the alert rules", ("prometheus",), ("promtool",)),
        Need("to check where alerts go", ("prometheus-alertmanager",), ("amtool",)),
    ]


def for_peers() -> list[Need]:
    """What the benchmark of real-time servers compares ours with. An installed Node.js is kept."""
    return [Need("to run Socket.IO's own server beside ours", ("nodejs", "npm"), ("node", "npm"))]


def for_browser() -> list[Need]:
    """The browser that tests of pages drive. Ubuntu has it as a snap only, which tests cannot drive."""
    if _distribution() == "ubuntu" and not shutil.which(CHROMIUM):
        raise Failure(
            f"the tests of pages need {CHROMIUM}, which Ubuntu has no package of",
            advice="run them on Debian, or install Chromium from elsewhere and make that file a link to it",
        )
    return [Need("the browser that tests drive", ("chromium",), files=(CHROMIUM.lstrip("/"),))]


def _distribution() -> str:
    try:
        return platform.freedesktop_os_release()["ID"]
    except OSError:
        return ""


def install(needs: Iterable[Need]) -> None:
    """Install what is missing, after saying what it is and what for."""
    missing = [need for need in needs if not need.met]
    if not missing:
        return
    packages = sorted({package for need in missing for package in need.packages})
    if shutil.which("apt-get") is None:
        raise Failure(
            f"missing on this machine: {', '.join(packages)}",
            advice="this machine has no apt-get: install their equivalents by hand",
        )
    say("  These Debian packages are missing here and will be installed with apt-get:")
    for need in missing:
        say(f"    {' '.join(need.packages):<40} {need.why}")
    log = CACHE / "log" / "apt.log"
    advice = "set apt-get right on this machine (try: apt-get update), then run the same command again"
    with step("Debian packages of this machine") as current:
        run(as_root(["apt-get", "-q", "update"]), log=log, advice=advice, watch=current.note)
        with _no_servers():
            run(
                as_root(
                    [
                        "env",
                        "DEBIAN_FRONTEND=noninteractive",
                        "apt-get",
                        "-qy",
                        "-o",
                        f"DPkg::Lock::Timeout={LOCK_SECONDS}",
                        "install",
                        "--no-install-recommends",
                        *packages,
                    ]
                ),
                log=log,
                advice=advice,
                watch=current.note,
            )


class _no_servers:
    """While packages are installed: they start no servers on this machine and make no PostgreSQL cluster."""

    policy = Path("/usr/sbin/policy-rc.d")
    clusters = Path("/etc/postgresql-common/createcluster.d/hecto.conf")

    def __enter__(self) -> None:
        self.mine: list[Path] = []
        # 101 is Debian policy's answer for "action forbidden".
        for path, text, mode in (
            (self.policy, "#!/bin/sh\nexit 101\n", "755"),
            (self.clusters, "create_main_cluster = false\n", "644"),
        ):
            if not path.exists():
                done = attempt(as_root(["install", "-D", "-m", mode, "/dev/stdin", path]), stdin=text)
                if done.returncode == 0:
                    self.mine.append(path)

    def __exit__(self, *_: object) -> None:
        for path in self.mine:
            attempt(as_root(["rm", "-f", path]))
