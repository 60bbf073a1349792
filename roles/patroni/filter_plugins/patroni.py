"""Filters over what `patronictl` prints: who can take over, and which settings in etcd are not as they should be."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Mapping
from typing import Any

import yaml

# As `patronictl list` calls them. In synchronous mode only those that are waited for have everything.
SYNCHRONOUS = ("Sync Standby", "Quorum Standby")
ANY = (*SYNCHRONOUS, "Replica")


def leader(listed: Collection[Mapping[str, Any]]) -> str:
    """The name of the primary, empty when there is none."""
    return next((str(one["Member"]) for one in listed if one["Role"] == "Leader" and one["State"] == "running"), "")


def fit(listed: Collection[Mapping[str, Any]], mode: str) -> list[str]:
    """The standbys that could take over now without a loss, in the order of their names."""
    roles = ANY if mode == "asynchronous" else SYNCHRONOUS
    return sorted(
        str(one["Member"])
        for one in listed
        if one["Role"] in roles and one["State"] == "streaming" and one.get("Lag in MB") == 0
    )


def follows(listed: Collection[Mapping[str, Any]], name: str) -> bool:
    """Whether the server is the primary or a standby that gets everything as it comes."""
    good = {"Leader": "running"}
    return any(one["Member"] == name and one["State"] == good.get(one["Role"], "streaming") for one in listed)


def copies(listed: Collection[Mapping[str, Any]], name: str) -> bool:
    """Whether the server is being made from a copy of the primary."""
    return any(one["Member"] == name and one["State"] == "creating replica" for one in listed)


def following(listed: Collection[Mapping[str, Any]]) -> list[str]:
    """The names of all servers that are the primary or get everything as it comes."""
    return [str(one["Member"]) for one in listed if follows(listed, str(one["Member"]))]


def pause(lines: Collection[str]) -> float:
    """The longest time between two writes, in seconds; a line has a time and, if something was written, its place."""
    rows = (line.split("|") for line in lines if line.count("|") == 1)
    times = sorted(float(at) for at, place in rows if place)
    return round(max((after - before for before, after in itertools.pairwise(times)), default=0.0), 2)


def patch(shown: str, wanted: Mapping[str, Any]) -> dict[str, Any]:
    """What to change of the settings that `patronictl show-config` shows; empty when all are as wanted.

    A parameter of PostgreSQL that is not wanted is removed: an earlier inventory may have named it.
    """
    current = yaml.safe_load(shown) or {}
    changes = _differences(current, wanted)
    had = (current.get("postgresql") or {}).get("parameters") or {}
    extra = {name: None for name in had if name not in wanted["postgresql"]["parameters"]}
    if extra:
        changes.setdefault("postgresql", {}).setdefault("parameters", {}).update(extra)
    return changes


def _differences(current: Mapping[str, Any], wanted: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in wanted.items():
        if isinstance(value, Mapping):
            if below := _differences(current.get(name) or {}, value):
                found[name] = below
        elif current.get(name) != value:
            found[name] = value
    return found


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Names as tasks use them."""
        return {
            "patroni_leader": leader,
            "patroni_fit": fit,
            "patroni_follows": follows,
            "patroni_copies": copies,
            "patroni_following": following,
            "patroni_patch": patch,
            "patroni_pause": pause,
        }
