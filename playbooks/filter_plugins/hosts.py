"""Hosts as nginx and the ids of sessions know them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any


def host_tag(name: str) -> str:
    """A host's name in six characters, which ids of its sessions begin with; the app makes the same."""
    return hashlib.sha1(name.encode(), usedforsecurity=False).hexdigest()[:6]


def authority(address: str, port: int | str) -> str:
    """An address with a port, as URLs and nginx write it."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def hosts(names: Iterable[str], addresses: Mapping[str, str]) -> list[dict[str, str]]:
    """Hosts as roles take them, each with the address by which others reach it."""
    return [{"name": name, "address": addresses[name]} for name in names]


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Names as roles use them."""
        return {"hecto_host_tag": host_tag, "hecto_authority": authority, "hecto_hosts": hosts}
