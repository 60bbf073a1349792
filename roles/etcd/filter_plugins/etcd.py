"""Filters that find voters in what `etcdctl member list --write-out=json` prints."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection
from typing import Any
from urllib.parse import urlsplit


def clients_without(listed: str, peer_url: str) -> list[str]:
    """Where the voters other than the one at `peer_url` answer clients; one that never started has no such address."""
    others = (member for member in _members(listed) if peer_url not in member["peerURLs"])
    return [url for member in others for url in member.get("clientURLs", ["https://never-started:2379"])[:1]]


def ids_at(listed: str, peer_url: str) -> list[str]:
    """The identifiers, as etcdctl takes them, of the voters at `peer_url`."""
    return [_id(member) for member in _members(listed) if peer_url in member["peerURLs"]]


def ids_beside(listed: str, addresses: Collection[str]) -> list[str]:
    """The identifiers of the voters at none of these addresses."""
    return [
        _id(member)
        for member in _members(listed)
        if not any(urlsplit(url).hostname in addresses for url in member["peerURLs"])
    ]


def _members(listed: str) -> list[dict[str, Any]]:
    members: list[dict[str, Any]] = json.loads(listed)["members"]
    return members


def _id(member: dict[str, Any]) -> str:
    return format(member["ID"], "x")


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Names as tasks use them."""
        return {"etcd_clients_without": clients_without, "etcd_ids_at": ids_at, "etcd_ids_beside": ids_beside}
