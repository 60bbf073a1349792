"""A local site: its name, its hosts, and the directory on the control machine that holds its state."""

from __future__ import annotations

import hashlib
import json
import os
import re
import socket
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from control.progress import Failure

ROOT = Path(__file__).resolve().parent.parent
STATE = ROOT / ".hecto"
CACHE = STATE / "cache"
INVENTORIES = ROOT / "inventory"
# Tells the containers of two checkouts on one machine apart, where their work is not a site's.
CHECKOUT = hashlib.sha256(str(ROOT).encode()).hexdigest()[:8]
SUITES = ("trixie", "bookworm")  # Debian 13 and 12
DEFAULT_INSTANCES = 4  # a laptop's share; the single-host topology runs a hundred
CLUSTER_HOSTS = 3  # the least that outlives the loss of one: two of three are a majority
CLUSTER_INSTANCES = 2  # on each of them, which share one machine here
PORTS = {
    "https_port": ("HECTO_HTTPS_PORT", 8443),
    "http_port": ("HECTO_HTTP_PORT", 8080),
    "ssh_port": ("HECTO_SSH_PORT", 2222),
}


@dataclass(frozen=True)
class Host:
    """One machine of a site: the container that it is, and where its sshd answers."""

    container: str
    address: str
    ssh_port: int


@dataclass(frozen=True)
class Site:
    """What is needed to find the hosts of a site. `host.json` holds it, and the local inventories read that file.

    One host has ports of this machine's loopback. Several have addresses on a network of their own, NETWORK.0/24:
    host N is NETWORK.(10+N), and NETWORK.101 and 102 are those that the edge moves from host to host.
    """

    name: str
    container: str
    suite: str
    https_port: int
    http_port: int
    ssh_port: int
    instances: int = DEFAULT_INSTANCES
    size: int = 1
    network: str = ""

    @property
    def is_cluster(self) -> bool:
        """Whether it has several hosts."""
        return self.size > 1

    @property
    def hosts(self) -> tuple[Host, ...]:
        """Its machines, the first of them the one that a command for one host means."""
        if not self.is_cluster:
            return (Host(self.container, "127.0.0.1", self.ssh_port),)
        return tuple(Host(f"{self.container}-{n}", f"{self.network}.{10 + n}", 22) for n in range(1, self.size + 1))

    @property
    def inventory(self) -> Path:
        """What describes it to Ansible."""
        return INVENTORIES / ("local-cluster" if self.is_cluster else "local")

    @property
    def directory(self) -> Path:
        """Keys, secrets, certificates, logs of this site."""
        return STATE / self.name

    @property
    def log(self) -> Path:
        """Where the logs of long steps are."""
        return self.directory / "log"

    @property
    def url(self) -> str:
        """Where a browser finds the site."""
        if self.is_cluster:
            return f"https://{self.network}.101"
        return f"https://127.0.0.1:{self.https_port}"

    @property
    def saved(self) -> bool:
        """Whether a host of this name was made before."""
        return (self.directory / "host.json").exists()

    def save(self) -> None:
        """Remember the site for the inventory and for the next command."""
        self.directory.mkdir(parents=True, exist_ok=True)
        # In one move: whoever is interrupted here must not leave half a file behind.
        fresh = self.directory / ".host.json.new"
        fresh.write_text(json.dumps(asdict(self), indent=2) + "\n")
        fresh.replace(self.directory / "host.json")

    def save_host(self) -> None:
        """Remember the host alone: a number of instances counts when the budget has accepted it."""
        default = CLUSTER_INSTANCES if self.is_cluster else DEFAULT_INSTANCES
        replace(self, instances=_known(self.name).get("instances", default)).save()


def load_site(name: str | None = None, *, size: int | None = None) -> Site:
    """The site that HECTO_NAME names: as its hosts were made, or as the environment asks for a new one.

    size: of how many hosts it must be; by default as many as it has, one for a new site.
    """
    name = name or os.environ.get("HECTO_NAME") or "local"
    if not re.fullmatch(r"[a-z][a-z0-9-]{0,30}", name) or name == CACHE.name:
        raise Failure(
            f"HECTO_NAME is '{name}'",
            advice="use at most 31 lower-case letters, digits and hyphens, a letter first; 'cache' is taken",
        )
    if name != "local" and (INVENTORIES / name).exists():
        raise Failure(
            f"HECTO_NAME is '{name}', and inventory/{name} keeps the secrets of a real site in {STATE / name}",
            advice="choose another name: a local site can be destroyed, with all that is there",
        )
    known = _known(name)
    wanted = size or known.get("size", 1)
    if known and wanted != known.get("size", 1):
        raise Failure(
            f"the site '{name}' has {known.get('size', 1)} host and is no cluster",
            advice="make the cluster beside it: HECTO_NAME=three ./hecto up --cluster; later commands need the same "
            "HECTO_NAME",
        )
    default_instances = CLUSTER_INSTANCES if wanted > 1 else DEFAULT_INSTANCES
    site = Site(
        name=name,
        container=f"hecto-{name}",
        suite=_suite(known.get("suite")),
        instances=_number("HECTO_INSTANCES", known.get("instances", default_instances), 1, 999),
        size=wanted,
        network=known.get("network", ""),
        **{key: _port(variable, known.get(key), default) for key, (variable, default) in PORTS.items()},
    )
    for key, (variable, _) in PORTS.items():
        if known and known[key] != getattr(site, key):
            raise Failure(
                f"{variable} asks for port {getattr(site, key)}, but the host of site '{name}' has port {known[key]}",
                advice=f"unset {variable}, or make the host anew: ./hecto destroy && ./hecto up",
            )
    _require_different_ports(site)
    return site


def _require_different_ports(site: Site) -> None:
    owners: dict[int, str] = {}
    for key, (variable, _) in PORTS.items():
        port = getattr(site, key)
        if port in owners:
            raise Failure(
                f"{owners[port]} and {variable} are both {port}, and one port cannot lead to two services of the host",
                advice=f"choose another for one of them, for example {variable}=PORT ./hecto up",
            )
        owners[port] = variable


def _known(name: str) -> dict[str, Any]:
    file = STATE / name / "host.json"
    try:
        known = json.loads(file.read_text())
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise _damaged(name, file, str(error)) from None
    values = known if isinstance(known, dict) else {}
    if missing := [key for key in PORTS if not isinstance(values.get(key), int)]:
        raise _damaged(name, file, f"it lacks {', '.join(missing)}")
    return values


def _damaged(name: str, file: Path, why: str) -> Failure:
    return Failure(
        f"{file} is damaged ({why}), so it is not known which ports and which Debian the host of site '{name}' has",
        advice="put a copy of the file back; without one, begin anew, which removes the site's database: "
        f"rm {file} && ./hecto destroy && ./hecto up",
    )


def _suite(known: str | None) -> str:
    wanted = os.environ.get("HECTO_SUITE") or known or SUITES[0]
    if wanted not in SUITES:
        raise Failure(f"HECTO_SUITE is '{wanted}'", advice=f"use one of: {', '.join(SUITES)}")
    if known and wanted != known:
        raise Failure(
            f"HECTO_SUITE asks for {wanted}, but the host of this site runs {known}",
            advice="unset HECTO_SUITE, name another site with HECTO_NAME, or first run: ./hecto destroy",
        )
    return wanted


def _port(variable: str, known: int | None, default: int) -> int:
    wanted = _number(variable, known or default, 0, 65535)
    if wanted:
        return wanted
    if known:
        return known
    with socket.socket() as probe:  # 0 asks for any port that is free now, as tests do
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _number(variable: str, default: int, low: int, high: int) -> int:
    text = os.environ.get(variable) or str(default)
    if not text.isdecimal() or not low <= int(text) <= high:
        raise Failure(f"{variable} is '{text}'", advice=f"use a number from {low} to {high}")
    return int(text)
