"""Which layouts of hosts work, and which ports are open to whom."""

from __future__ import annotations

import pytest

from tests.plugins import load

topology = load("playbooks/filter_plugins/topology.py")

HOSTS = ("one", "two", "three")
ADDRESSES = {"one": "10.0.0.1", "two": "10.0.0.2", "three": "10.0.0.3"}
VIPS = ["10.0.0.101", "10.0.0.102"]


def layout(**groups: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    everything = {name: HOSTS for name in ("all", "app", "postgres", "redis", "etcd")}
    return {**everything, "lb": HOSTS[:2], "monitoring": HOSTS[2:], "backup": HOSTS[2:], **groups}


def test_three_hosts_that_do_everything_work() -> None:
    assert topology.problems(layout(), ADDRESSES, VIPS) == []


def test_one_host_needs_nothing_more() -> None:
    alone = {name: ("one",) for name in ("all", "app", "postgres", "redis", "lb")}
    assert topology.problems(alone, {"one": "127.0.0.1"}) == []


@pytest.mark.parametrize(
    ("groups", "said"),
    [
        ({"app": ()}, "group app is empty"),
        ({"etcd": HOSTS[:1]}, "3 hosts in postgres and 1 in etcd"),
        ({"etcd": (*HOSTS, "four")}, "4 hosts in etcd: an even number"),
        ({"redis": HOSTS[:2]}, "2 hosts in redis"),
        ({"redis": (*HOSTS, "four")}, "4 hosts in redis"),
        ({"lb": HOSTS[:1]}, "one host in lb"),
    ],
)
def test_a_layout_that_cannot_work_is_refused_in_words(groups: dict[str, tuple[str, ...]], said: str) -> None:
    (problem,) = topology.problems(layout(**groups), ADDRESSES, VIPS)
    assert said in problem
    assert "Name" in problem or "name" in problem


def test_several_databases_need_one_place_for_their_backups() -> None:
    (problem,) = topology.problems(layout(), ADDRESSES, VIPS, "directory")
    assert "Name one host in backup" in problem
    assert topology.problems(layout(), ADDRESSES, VIPS, "s3") == []
    alone = {name: ("one",) for name in ("all", "app", "postgres", "redis", "lb")}
    assert topology.problems(alone, {"one": "127.0.0.1"}, (), "directory") == []


def test_two_edges_without_an_address_that_moves_are_refused() -> None:
    (problem,) = topology.problems(layout(), ADDRESSES)
    assert "no lb_addresses" in problem


@pytest.mark.parametrize(
    ("address", "said"),
    [("127.0.0.1", "two has no host_address"), ("10.0.0.1", "the same host_address"), ("erp2", "write an IP address")],
)
def test_hosts_must_be_able_to_reach_each_other(address: str, said: str) -> None:
    (problem,) = topology.problems(layout(), {**ADDRESSES, "two": address}, VIPS)
    assert said in problem


def test_ports_are_open_to_those_who_need_them_alone() -> None:
    apart = layout(
        all=(*HOSTS, "edge"), postgres=("one",), etcd=("one",), app=("two",), lb=("edge",), redis=("three",), backup=()
    )
    addresses = {**ADDRESSES, "edge": "10.0.0.9"}
    assert topology.allowed(apart, addresses, "two") == [
        {"ports": [8405, 9100, 9113], "from": ["10.0.0.3"]},
        {"ports": [8444], "from": ["10.0.0.3", "10.0.0.9"]},
    ]
    open_ports = {port: rule["from"] for rule in topology.allowed(apart, addresses, "one") for port in rule["ports"]}
    assert open_ports[5432] == ["10.0.0.2"]
    assert 2380 not in open_ports  # the only member has nobody to talk to
    assert 6379 not in open_ports
