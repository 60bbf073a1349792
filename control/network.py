"""The network of a site of several hosts: a bridge of this machine, which reaches the hosts by their own addresses."""

from __future__ import annotations

import ipaddress
import json

from control.podman import podman
from control.progress import Failure
from control.shell import attempt, output

LABEL = "hecto.site"  # which checkout's site a network or a container is of


def ensure_network(name: str, owner: str) -> str:
    """Make a network unless it is there. Returns the first three numbers of its addresses, such as 10.89.3."""
    found = attempt(podman("network", "inspect", name))
    if found.returncode != 0:
        # podman looks for addresses that nothing on this machine uses.
        output(podman("network", "create", f"--label={LABEL}={owner}", name))
        found = attempt(podman("network", "inspect", name))
    described = json.loads(found.stdout)[0]
    if described.get("labels", {}).get(LABEL, owner) != owner:
        raise Failure(
            f"the network {name} belongs to {described['labels'][LABEL]}",
            advice="choose another name with HECTO_NAME=NAME, or remove it from that checkout",
        )
    subnet = ipaddress.ip_network(described["subnets"][0]["subnet"])
    return str(subnet.network_address).rpartition(".")[0]


def remove_network(name: str) -> None:
    """Remove a network whose hosts are gone; one that is not there is fine."""
    if attempt(podman("network", "exists", name)).returncode == 0:
        output(podman("network", "rm", name))
