"""The hosts of a site together: who leads, who has which address, and whether every part of it is there."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from control.site import Site
from tests.chaos.commands import Host

LOOK = Path(__file__).with_name("look.py").read_text()
LOOK_SECONDS = 30.0
# Between two looks: each costs every host some tenths of a second of a core.
PAUSE = 1.5
# A standby may be some milliseconds behind; one that stays behind by more does not follow.
LAG_BYTES = 1 << 20

Look = dict[str, Any]


class Cluster:
    """A site of several hosts."""

    def __init__(self, site: Site, hosts: Sequence[Host]) -> None:
        self.site = site
        self.hosts = list(hosts)
        self._redis_password = (site.directory / "secrets" / "redis-admin-password").read_text().split()[0]
        self._threads = ThreadPoolExecutor(len(self.hosts))

    def look(self) -> dict[str, Look]:
        """What each host says of itself, by name; nothing where a host does not answer."""
        return dict(zip((host.name for host in self.hosts), self._threads.map(self._look, self.hosts), strict=True))

    def _look(self, host: Host) -> Look:
        words = json.dumps({"address": host.machine.address, "redis_password": self._redis_password})
        try:
            done = host.run(f"python3 -c {_quoted(LOOK)}", stdin=words, check=False, seconds=LOOK_SECONDS)
            found: Look = json.loads(done.output)
        except (subprocess.TimeoutExpired, ValueError):
            return {}
        return found

    def primary(self) -> Host:
        """The host whose database takes writes."""
        return self._the("a primary database", is_primary)

    def redis_master(self) -> Host:
        """The host of Redis' master."""
        return self._the("a Redis master", is_redis_master)

    def etcd_leader(self) -> Host:
        """The host of the leader among the voters."""
        return self._the("a leader of etcd", is_etcd_leader)

    def edge(self) -> Host:
        """The host that has the address people come to."""
        return self._the("the public address", lambda look: self.public_address in look.get("addresses", ()))

    @property
    def public_address(self) -> str:
        """Where people come."""
        return f"{self.site.network}.101"

    @property
    def edge_that_prefers_it(self) -> str:
        """The host that takes that address back when it has served for a while: the first edge."""
        return self.hosts[0].name

    def others(self, *hosts: Host) -> list[Host]:
        """All but these."""
        return [host for host in self.hosts if host not in hosts]

    def _the(self, what: str, has: Callable[[Look], bool]) -> Host:
        looks = self.look()
        found = [host for host in self.hosts if has(looks[host.name])]
        if len(found) != 1:
            raise AssertionError(f"{what} is on {', '.join(host.name for host in found) or 'no host'}")
        return found[0]

    def wait_until_whole(self, seconds: float) -> str:
        """Wait until nothing is lacking; returns what was lacking last, empty where nothing was."""
        deadline = time.monotonic() + seconds
        lacked = ""
        while missing := lacking(self.look(), self.public_address, self.edge_that_prefers_it):
            lacked = "; ".join(missing)
            if time.monotonic() > deadline:
                raise AssertionError(f"after {seconds:.0f} s the cluster is not whole: {lacked}")
            time.sleep(PAUSE)
        return lacked

    def close(self) -> None:
        """End the threads that look."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def is_primary(look: Look) -> bool:
    """Whether the host's own database takes writes."""
    return look.get("database") == "primary"


def is_redis_master(look: Look) -> bool:
    """Whether the host's Redis is a master that a copy follows; one that was cut off has none."""
    redis = look.get("redis") or {}
    return redis.get("role") == "master" and int(redis.get("connected_slaves", 0)) > 0


def is_etcd_leader(look: Look) -> bool:
    """Whether the host's voter leads."""
    etcd = look.get("etcd") or {}
    return bool(etcd.get("leader")) and etcd["leader"] == etcd["header"]["member_id"]


def leads_twice(look: Look) -> bool:
    """Whether the host has the primary and the leader of etcd."""
    return is_primary(look) and is_etcd_leader(look)


def lacking(looks: dict[str, Look], public_address: str, its_edge: str) -> list[str]:
    """What is not as it should be, in words; empty when the cluster is whole."""
    found = [f"{name} does not answer" for name, look in looks.items() if not look]
    there = {name: look for name, look in looks.items() if look}
    for name, look in there.items():
        found += _of_host(name, look)
    size = len(looks)
    found += _of_postgres(there, size)
    found += _of_redis(there, size)
    leaders = {(look["etcd"] or {}).get("leader") for look in there.values()}
    if len(leaders) != 1 or leaders == {None}:
        found.append("the voters of etcd do not agree on a leader")
    # hecto-voter moves it: the loss of both with one host costs two leases.
    found += [f"{name} has the primary and the leader of etcd" for name, look in there.items() if leads_twice(look)]
    holders = [name for name, look in there.items() if public_address in look["addresses"]]
    # A move of the address ends connections, so one that is still to come is a part of what the fault costs.
    if holders != [its_edge]:
        found.append(f"{public_address} is on {' and '.join(holders) or 'no host'} instead of {its_edge}")
    return found


def _of_host(name: str, look: Look) -> list[str]:
    found = []
    late = [one["name"] for one in look["fleet"].get("instances", [{"name": "all"}]) if one.get("state") != "ready"]
    if late or not look["fleet"].get("ready"):
        found.append(f"{name}: not ready: {', '.join(late) or 'the fleet'}")
    if ill := [one for one, status in look["health"].items() if status != "OK"]:
        found.append(f"{name}: without what they need: {', '.join(ill)}")
    if look["failed_units"]:
        found.append(f"{name}: failed: {', '.join(look['failed_units'])}")
    return found


def _of_postgres(there: dict[str, Look], size: int) -> list[str]:
    primaries = [name for name, look in there.items() if is_primary(look)]
    if len(primaries) != 1:
        return [f"{len(primaries)} primaries: {', '.join(primaries)}"]
    members = (there[primaries[0]]["patroni"] or {}).get("members", [])
    leaders = [one for one in members if one["role"] in ("leader", "master", "primary")]
    follow = [
        one
        for one in members
        if one not in leaders and one["state"] == "streaming" and _lag(one) <= LAG_BYTES
    ]  # fmt: skip
    if len(leaders) == 1 and len(follow) == size - 1:
        return []
    return [f"PostgreSQL: {', '.join(_member(one) for one in members) or 'Patroni says nothing'}"]


def _lag(member: dict[str, Any]) -> int:
    lag = member.get("lag", 0)
    return lag if isinstance(lag, int) else LAG_BYTES + 1  # "unknown"


def _member(member: dict[str, Any]) -> str:
    return f"{member['name']} {member['role']} {member['state']} lag {member.get('lag', '-')}"


def _of_redis(there: dict[str, Look], size: int) -> list[str]:
    roles = {name: look["redis"] or {} for name, look in there.items()}
    masters = [name for name, redis in roles.items() if redis.get("role") == "master"]
    up = [name for name, redis in roles.items() if redis.get("master_link_status") == "up"]
    if len(masters) == 1 and len(up) == size - 1 and int(roles[masters[0]].get("connected_slaves", 0)) == size - 1:
        return []
    return [f"Redis: master {' and '.join(masters) or 'nowhere'}, followed by {len(up)}"]


def _quoted(script: str) -> str:
    return "'" + script.replace("'", "'\"'\"'") + "'"
