"""What the groups of an inventory mean together: which layouts work, and who must reach whom."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

Groups = Mapping[str, Sequence[str]]

# What the hosts of a group listen on for other hosts, and the groups of those that come.
LISTENERS: dict[str, tuple[tuple[int, tuple[str, ...]], ...]] = {
    "etcd": ((2379, ("etcd", "postgres", "monitoring")), (2380, ("etcd",))),
    "postgres": (
        (5432, ("app", "postgres")),
        (8008, ("app", "postgres", "monitoring")),  # Patroni: roles of the members, for HAProxy and for each other
        (8432, ("backup", "postgres")),  # pgBackRest
        (9187, ("monitoring",)),
    ),
    "redis": ((6379, ("app", "redis")), (26379, ("app", "redis")), (9121, ("monitoring",))),
    "app": ((8444, ("lb", "monitoring")), (8405, ("monitoring",)), (9113, ("monitoring",))),
    "lb": ((9113, ("monitoring",)),),
    "backup": ((8432, ("postgres",)),),
    "monitoring": ((9090, ("monitoring",)), (9093, ("monitoring",)), (9094, ("monitoring",))),
    "all": ((9100, ("monitoring",)),),
}


def problems(
    groups: Groups, addresses: Mapping[str, str], lb_addresses: Sequence[str] = (), repository: str = "host"
) -> list[str]:
    """What is wrong with a layout, one text each with what to do; empty when it works.

    addresses: the host_address of every host. repository: where backups go, as backup_repository says it.
    """
    sizes = {name: len(groups.get(name, ())) for name in LISTENERS}
    found = [
        f"The group {name} is empty: name at least one host in it."
        for name in ("app", "postgres", "redis", "lb")
        if not sizes[name]
    ]
    if sizes["all"] > 1:
        found += _wrong_addresses(addresses)
    if sizes["postgres"] > 1 and sizes["etcd"] < 3:
        found.append(
            f"{sizes['postgres']} hosts in postgres and {sizes['etcd']} in etcd: its majority says who is primary, "
            "which takes three. Name three hosts in etcd (those of postgres, for example), or one in postgres."
        )
    if sizes["postgres"] > 1 and repository == "directory":
        found.append(
            f"{sizes['postgres']} hosts in postgres, each with a directory of its own for backups: when the primary "
            "has moved, none holds what another needs. Name one host in backup, or set backup_repository to s3."
        )
    if sizes["etcd"] and sizes["etcd"] % 2 == 0:
        found.append(
            f"{sizes['etcd']} hosts in etcd: an even number outlives no more losses than the odd one below it. "
            f"Name {sizes['etcd'] - 1} or {sizes['etcd'] + 1}."
        )
    if sizes["redis"] != 1 and (sizes["redis"] < 3 or sizes["redis"] % 2 == 0):
        found.append(
            f"{sizes['redis']} hosts in redis: a majority of them chooses the master. "
            "Name 3, 5 or 7, or 1 that has no second."
        )
    if lb_addresses and sizes["lb"] < 2:
        found.append(
            "lb_addresses move between hosts, and there is one host in lb: name a second one, or no lb_addresses."
        )
    if sizes["lb"] > 1 and not lb_addresses:
        found.append(
            f"{sizes['lb']} hosts in lb and no lb_addresses: when one of them fails, nobody takes over its address. "
            "Name one address of the network for each of them."
        )
    return found


def _wrong_addresses(addresses: Mapping[str, str]) -> Iterator[str]:
    taken: dict[str, str] = {}
    for host, text in sorted(addresses.items()):
        try:
            address = ipaddress.ip_address(text)
        except ValueError:
            yield f"host_address of {host} is '{text}': write an IP address by which the other hosts reach it."
            continue
        if address.is_loopback:
            yield f"{host} has no host_address: write the address by which the other hosts reach it into hosts.yml."
        elif other := taken.get(text):
            yield f"{other} and {host} have the same host_address {text}: correct one of them."
        taken[text] = host


def allowed(groups: Groups, addresses: Mapping[str, str], host: str) -> list[dict[str, list[Any]]]:
    """Who may reach which ports of a host: [{"ports": [...], "from": [addresses]}], one entry for the same sources."""
    sources: dict[int, set[str]] = {}
    for name, listeners in LISTENERS.items():
        if host not in groups.get(name, ()):
            continue
        for port, comers in listeners:
            hosts = {other for comer in comers for other in groups.get(comer, ())} - {host}
            sources.setdefault(port, set()).update(addresses[other] for other in hosts)
    rules: dict[tuple[str, ...], list[int]] = {}
    for port, comers in sorted(sources.items()):
        if comers:
            rules.setdefault(tuple(sorted(comers)), []).append(port)
    return [{"ports": ports, "from": list(comers)} for comers, ports in rules.items()]


class FilterModule:
    """Ansible's entry."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Name the filters."""
        return {"hecto_topology_problems": problems, "hecto_allowed": allowed}
