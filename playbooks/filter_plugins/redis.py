"""What the hosts of Redis know of their master."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any


def redis_master(looks: Iterable[Sequence[str]]) -> str:
    """The address of the master, by the latest decision that a Sentinel knows of; empty where none knows any.

    Each look has the lines `master ADDRESS` and `epoch NUMBER` of one host that has a Sentinel.
    """
    known = [dict(line.split(" ", 1) for line in look if line.startswith(("master ", "epoch "))) for look in looks]
    decisions = [(int(each.get("epoch", 0)), each["master"]) for each in known if "master" in each]
    return max(decisions, default=(0, ""))[1]


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Names as roles use them."""
        return {"hecto_redis_master": redis_master}
