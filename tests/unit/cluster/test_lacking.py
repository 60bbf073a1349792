"""A cluster is whole when nothing is lacking: each part that is away is named."""

from __future__ import annotations

import copy
from typing import Any

from tests.cluster.cluster import is_etcd_leader, is_primary, is_redis_master, lacking

ADDRESS, EDGE = "10.0.0.101", "host-2"


def member(number: int, **values: Any) -> dict[str, Any]:
    leads = number == 1
    role, state = ("leader", "running") if leads else ("sync_standby", "streaming")
    return {"name": f"host-{number}", "role": role, "state": state, "lag": 0} | values


def looks() -> dict[str, dict[str, Any]]:
    members = [member(number) for number in (1, 2, 3)]
    return {
        f"host-{number}": {
            "fleet": {"ready": True, "instances": [{"name": "instance-1", "state": "ready"}]},
            "health": {"instance-1": "OK"},
            "database": "primary" if number == 1 else "standby",
            "patroni": {"members": copy.deepcopy(members)},
            "etcd": {"leader": "8", "header": {"member_id": str(6 + number)}},
            "redis": {"role": "master", "connected_slaves": "2"}
            if number == 1
            else {"role": "slave", "master_link_status": "up"},
            "addresses": ["127.0.0.1", *([ADDRESS] if number == 2 else [])],
            "failed_units": [],
        }
        for number in (1, 2, 3)
    }


def test_nothing_is_lacking() -> None:
    found = looks()
    assert lacking(found, ADDRESS, EDGE) == []
    assert [is_primary(look) for look in found.values()] == [True, False, False]
    assert [is_redis_master(look) for look in found.values()] == [True, False, False]
    assert [is_etcd_leader(look) for look in found.values()] == [False, True, False]


def test_each_part_that_is_away_is_named() -> None:
    def without(name: str, key: str, value: Any) -> list[str]:
        found = looks()
        found[name][key] = value
        return lacking(found, ADDRESS, EDGE)

    assert without("host-1", "failed_units", ["etcd.service"]) == ["host-1: failed: etcd.service"]
    late = {"ready": False, "instances": [{"name": "instance-2", "state": "starting"}]}
    assert without("host-3", "fleet", late) == ["host-3: not ready: instance-2"]
    assert without("host-3", "fleet", {}) == ["host-3: not ready: all"]
    ill = {"instance-1": "OK", "instance-2": "DEGRADED"}
    assert without("host-1", "health", ill) == ["host-1: without what they need: instance-2"]
    assert without("host-2", "etcd", None) == ["the voters of etcd do not agree on a leader"]
    other = {"leader": "9", "header": {"member_id": "9"}}
    assert without("host-3", "etcd", other) == ["the voters of etcd do not agree on a leader"]
    assert without("host-2", "redis", {"role": "slave", "master_link_status": "down"}) == [
        "Redis: master host-1, followed by 1"
    ]
    assert without("host-2", "redis", {"role": "master"}) == ["Redis: master host-1 and host-2, followed by 1"]
    assert without("host-3", "database", "primary") == ["2 primaries: host-1, host-3"]
    assert without("host-1", "database", "") == ["0 primaries: "]
    assert without("host-2", "addresses", []) == [f"{ADDRESS} is on no host instead of host-2"]
    assert without("host-1", "addresses", [ADDRESS]) == [f"{ADDRESS} is on host-1 and host-2 instead of host-2"]


def test_a_host_that_leads_in_both_is_named() -> None:
    found = looks()
    for look in found.values():
        look["etcd"]["leader"] = "7"
    assert lacking(found, ADDRESS, EDGE) == ["host-1 has the primary and the leader of etcd"]


def test_an_address_that_has_not_come_back_yet_is_named() -> None:
    found = looks()
    found["host-1"]["addresses"], found["host-2"]["addresses"] = [ADDRESS], []
    assert lacking(found, ADDRESS, EDGE) == [f"{ADDRESS} is on host-1 instead of host-2"]


def test_a_standby_that_does_not_follow_is_named() -> None:
    for values in ({"state": "running"}, {"lag": 1 << 21}, {"lag": "unknown"}):
        found = looks()
        found["host-1"]["patroni"]["members"][2] |= values
        assert len(lacking(found, ADDRESS, EDGE)) == 1, values


def test_a_host_that_says_nothing_is_named_and_missed() -> None:
    found = looks()
    found["host-3"] = {}
    lacks = lacking(found, ADDRESS, EDGE)
    assert lacks[0] == "host-3 does not answer"
    assert any(text.startswith("Redis") for text in lacks)
