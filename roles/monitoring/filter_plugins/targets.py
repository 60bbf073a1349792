"""What Prometheus asks, from the hosts of an inventory: one list of jobs, and nothing that somebody keeps by hand."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

INSTANCE_PORT_BASE = 5000
# The port of nginx on an app host where a monitoring host finds each of its instances, and the path there.
INNER_PORT = 8444
INNER_PATH = "/internal/metrics/{number}"
# Job, port and the groups whose hosts have it; the exporter of the host itself is on every one.
EXPORTERS = (
    ("node", 9100, None),
    ("postgres", 9187, {"postgres"}),
    ("redis", 9121, {"redis"}),
    ("nginx", 9113, {"lb"}),
)
# Of several hosts only: what tells about itself, and always over TLS.
CLUSTER = (("patroni", 8008, {"postgres"}), ("etcd", 2379, {"etcd"}), ("haproxy", 8405, {"app"}))
ALERTMANAGER_PORT = 9093


def watched_hosts(hosts: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """What has to be known of each host, from its variables."""
    return [
        {
            "name": str(host["inventory_hostname"]),
            "address": str(host.get("host_address", "127.0.0.1")),
            "groups": sorted(host["group_names"]),
            "instances": int(host["hecto_instances"]) if "app" in host["group_names"] else 0,
        }
        for host in hosts
    ]


def scrape_jobs(hosts: Iterable[Mapping[str, Any]], tls: bool = False) -> list[dict[str, Any]]:
    """Jobs and their targets, in Prometheus' own words; `tls` says that they are asked from host to host."""
    found = sorted(hosts, key=lambda host: host["name"])
    jobs = [_job("hecto", _instances(found, tls), tls)]
    for name, port, groups in EXPORTERS:
        # An app host of several has a proxy of its own in front of its instances.
        wanted = groups | {"app"} if tls and name == "nginx" and groups else groups
        jobs.append(_job(name, _targets(found, port, wanted), tls))
    if tls:
        jobs += [_job(name, _targets(found, port, groups), tls) for name, port, groups in CLUSTER]
    jobs.append(_job("alertmanager", _targets(found, ALERTMANAGER_PORT, {"monitoring"}), tls))
    return [job for job in jobs if job["static_configs"]]


def alertmanagers(hosts: Iterable[Mapping[str, Any]]) -> list[str]:
    """Where alerts are sent: to every one, since those that miss one would send it a second time."""
    return sorted(
        f"{_literal(host['address'])}:{ALERTMANAGER_PORT}" for host in hosts if "monitoring" in host["groups"]
    )


def expected(hosts: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """How many there should be of what nobody would miss otherwise: what is not there tells nothing."""
    groups = [set(host["groups"]) for host in hosts]
    return {
        "standbys": max(0, sum("postgres" in group for group in groups) - 1),
        "backups": int(any("postgres" in group for group in groups)),
        "etcd": sum("etcd" in group for group in groups),
    }


def _job(name: str, targets: list[dict[str, Any]], tls: bool) -> dict[str, Any]:
    return {"job_name": name, "scheme": "https" if tls else "http", "static_configs": targets}


def _instances(hosts: Iterable[Mapping[str, Any]], tls: bool) -> list[dict[str, Any]]:
    return [
        _instance(host, number, tls)
        for host in hosts
        if "app" in host["groups"]
        for number in range(1, host["instances"] + 1)
    ]


def _instance(host: Mapping[str, Any], number: int, tls: bool) -> dict[str, Any]:
    labels = {"host": host["name"], "instance": f"instance-{number}"}
    if not tls:
        return {"targets": [f"{_literal(host['address'])}:{INSTANCE_PORT_BASE + number}"], "labels": labels}
    path = INNER_PATH.format(number=number)
    return {"targets": [f"{_literal(host['address'])}:{INNER_PORT}"], "labels": {**labels, "__metrics_path__": path}}


def _targets(hosts: Iterable[Mapping[str, Any]], port: int, groups: set[str] | None) -> list[dict[str, Any]]:
    return [
        {
            "targets": [f"{_literal(host['address'])}:{port}"],
            "labels": {"host": host["name"], "instance": host["name"]},
        }
        for host in hosts
        if groups is None or groups & set(host["groups"])
    ]


def _literal(address: str) -> str:
    """An address as it stands before a port."""
    return f"[{address}]" if ":" in address else address


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Names as inventories and templates use them."""
        return {
            "hecto_watched_hosts": watched_hosts,
            "hecto_scrape_jobs": scrape_jobs,
            "hecto_alertmanagers": alertmanagers,
            "hecto_expected": expected,
        }
