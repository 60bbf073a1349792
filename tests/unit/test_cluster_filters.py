"""What tools of the cluster print, and what follows from it."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType

import yaml

from tests.plugins import load

ROOT = Path(__file__).resolve().parents[2]


def _plugin(role: str) -> ModuleType:
    return load(f"roles/{role}/filter_plugins/{role}.py")


etcd, patroni = _plugin("etcd"), _plugin("patroni")

LISTED = [
    {"Member": "a", "Role": "Leader", "State": "running"},
    {"Member": "c", "Role": "Quorum Standby", "State": "streaming", "Lag in MB": 0},
    {"Member": "b", "Role": "Quorum Standby", "State": "streaming", "Lag in MB": 3},
    {"Member": "d", "Role": "Replica", "State": "streaming", "Lag in MB": 0},
    {"Member": "e", "Role": "Sync Standby", "State": "starting", "Lag in MB": "unknown"},
]
VOTERS = json.dumps(
    {
        "members": [
            {"ID": 17, "name": "a", "peerURLs": ["https://10.0.0.1:2380"], "clientURLs": ["https://10.0.0.1:2379"]},
            {"ID": 2**63 + 1, "name": "b", "peerURLs": ["https://10.0.0.2:2380"]},
        ]
    }
)


def test_who_has_everything_can_take_over() -> None:
    assert patroni.fit(LISTED, "synchronous") == ["c"]
    assert patroni.fit(LISTED, "asynchronous") == ["c", "d"]


def test_a_primary_that_starts_is_none() -> None:
    assert patroni.leader(LISTED) == "a"
    assert patroni.leader([{"Member": "a", "Role": "Leader", "State": "starting"}]) == ""


def test_who_starts_does_not_follow() -> None:
    assert [patroni.follows(LISTED, name) for name in "aber"] == [True, True, False, False]


def test_who_copies_is_not_there_yet() -> None:
    listed = [*LISTED, {"Member": "f", "Role": "Replica", "State": "creating replica", "Lag in MB": "unknown"}]
    assert [patroni.copies(listed, name) for name in "abf"] == [False, False, True]
    assert not patroni.follows(listed, "f")


def test_a_patch_says_what_differs_and_removes_what_nobody_wants() -> None:
    wanted = {"ttl": 20, "postgresql": {"use_slots": True, "parameters": {"max_connections": 100}}}
    assert patroni.patch(yaml.safe_dump(wanted), wanted) == {}
    shown = {
        "ttl": 30,
        "postgresql": {"use_slots": True, "parameters": {"max_connections": 100, "wal_level": "logical"}},
    }
    assert patroni.patch(yaml.safe_dump(shown), wanted) == {
        "ttl": 20,
        "postgresql": {"parameters": {"wal_level": None}},
    }
    assert patroni.patch("", wanted) == wanted


def test_a_pause_is_the_longest_time_without_a_write_on_any_server() -> None:
    lines = ["10.0|0/1", "10.1|0/2", "", "Sun Nov 29 2026 (every 0.05s)", "10.2|", "12.6|0/3", "12.7|0/4", "10.15|0/2"]
    assert patroni.pause(lines) == 2.45
    assert patroni.pause([]) == 0


def test_voters_are_found_by_their_address() -> None:
    assert etcd.ids_at(VOTERS, "https://10.0.0.2:2380") == ["8000000000000001"]
    assert etcd.ids_beside(VOTERS, ["10.0.0.2"]) == ["11"]
    assert etcd.clients_without(VOTERS, "https://10.0.0.2:2380") == ["https://10.0.0.1:2379"]


def test_a_voter_that_never_started_is_not_well() -> None:
    assert etcd.clients_without(VOTERS, "https://10.0.0.1:2380") == ["https://never-started:2379"]
