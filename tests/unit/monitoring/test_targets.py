"""What Prometheus asks comes from the inventory, on one host and on several."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.plugins import load

ROOT = Path(__file__).resolve().parents[3]


targets = load("roles/monitoring/filter_plugins/targets.py")
ONE = [
    {"name": "erp", "address": "127.0.0.1", "groups": ["app", "lb", "monitoring", "postgres", "redis"], "instances": 2}
]
THREE = [
    {"name": "c", "address": "fd00::3", "groups": ["etcd", "monitoring", "backup"], "instances": 0},
    {"name": "a", "address": "10.0.0.1", "groups": ["app", "etcd", "monitoring", "postgres", "redis"], "instances": 1},
    {"name": "b", "address": "10.0.0.2", "groups": ["app", "etcd", "lb", "postgres", "redis"], "instances": 1},
]


def jobs(hosts: list[dict[str, Any]], *, tls: bool = False) -> dict[str, list[dict[str, Any]]]:
    return {job["job_name"]: job["static_configs"] for job in targets.scrape_jobs(hosts, tls)}


def addresses(found: list[dict[str, Any]]) -> list[str]:
    return [address for target in found for address in target["targets"]]


def test_every_instance_of_one_host_is_asked_on_its_own_port() -> None:
    found = jobs(ONE)["hecto"]
    assert addresses(found) == ["127.0.0.1:5001", "127.0.0.1:5002"]
    assert [target["labels"] for target in found] == [
        {"host": "erp", "instance": "instance-1"},
        {"host": "erp", "instance": "instance-2"},
    ]


def test_one_host_has_what_runs_on_it() -> None:
    assert list(jobs(ONE)) == ["hecto", "node", "postgres", "redis", "nginx", "alertmanager"]


def test_instances_of_several_hosts_are_asked_through_the_proxy_of_their_host() -> None:
    found = jobs(THREE, tls=True)["hecto"]
    assert addresses(found) == ["10.0.0.1:8444", "10.0.0.2:8444"]
    assert [target["labels"]["__metrics_path__"] for target in found] == ["/internal/metrics/1"] * 2


def test_each_service_is_asked_where_it_runs() -> None:
    found = {name: addresses(targets) for name, targets in jobs(THREE, tls=True).items()}
    assert found["node"] == ["10.0.0.1:9100", "10.0.0.2:9100", "[fd00::3]:9100"]
    assert found["postgres"] == ["10.0.0.1:9187", "10.0.0.2:9187"]
    assert found["nginx"] == ["10.0.0.1:9113", "10.0.0.2:9113"]
    assert found["patroni"] == ["10.0.0.1:8008", "10.0.0.2:8008"]
    assert found["etcd"] == ["10.0.0.1:2379", "10.0.0.2:2379", "[fd00::3]:2379"]
    assert found["haproxy"] == ["10.0.0.1:8405", "10.0.0.2:8405"]


def test_between_hosts_everything_is_encrypted() -> None:
    assert {job["scheme"] for job in targets.scrape_jobs(THREE, True)} == {"https"}


def test_alerts_go_to_every_alertmanager() -> None:
    assert targets.alertmanagers(THREE) == ["10.0.0.1:9093", "[fd00::3]:9093"]


@pytest.mark.parametrize(
    ("hosts", "expected"),
    [
        (ONE, {"standbys": 0, "backups": 1, "etcd": 0}),
        (THREE, {"standbys": 1, "backups": 1, "etcd": 3}),
    ],
)
def test_what_would_be_missed_by_nobody_is_counted(hosts: list[dict[str, Any]], expected: dict[str, int]) -> None:
    assert targets.expected(hosts) == expected


def test_a_host_without_instances_needs_no_number_of_them() -> None:
    found = targets.watched_hosts(
        [
            {"inventory_hostname": "a", "group_names": ["app"], "hecto_instances": "7", "host_address": "10.0.0.1"},
            {"inventory_hostname": "b", "group_names": ["redis"]},
        ]
    )
    assert found == [
        {"name": "a", "address": "10.0.0.1", "groups": ["app"], "instances": 7},
        {"name": "b", "address": "127.0.0.1", "groups": ["redis"], "instances": 0},
    ]
