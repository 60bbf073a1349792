"""What is done to a cluster under load: small functions that do one thing, end it, and say what it was."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tests.chaos.commands import PSQL, Host
from tests.cluster import power
from tests.cluster.cluster import Cluster

# Longer than any lease, so that the others have taken over before it ends.
AWAY_SECONDS = 40.0
POSTMASTER = "/var/lib/postgresql/*/main/postmaster.pid"
PATRONI, REDIS, ETCD = "patroni.service", "redis-server.service", "etcd.service"

ETCDCTL = (
    "etcdctl --endpoints=https://127.0.0.1:2379 --cacert=/etc/hecto/tls/ca.crt --cert=/etc/hecto/tls/host.crt "
    "--key=/etc/hecto/tls/host.key"
)

Strike = Callable[[Cluster], str]


@dataclass(frozen=True)
class Fault:
    """Something bad, and what is promised for it beside that nothing is lost or done twice.

    ``unseen``: nobody notices it, neither by an error nor by having to repeat a request. ``rto``: at most so many
    seconds without a write. ``prepare`` is done before it counts.
    """

    name: str
    strike: Strike
    unseen: bool = False
    rto: float = 0.0
    prepare: Callable[[Cluster], object] | None = None


def kill_postmaster(cluster: Cluster) -> str:
    """The database's first process dies; those of its clients end with it."""
    host = cluster.primary()
    host.run(f"kill -9 $(head -n 1 {POSTMASTER})")
    return f"kill -9 of the postmaster on {host.name}"


def kill_patroni(cluster: Cluster) -> str:
    """Patroni and PostgreSQL die in the same moment."""
    host = cluster.primary()
    _signal(host, PATRONI, "KILL")
    return f"kill -9 of Patroni and PostgreSQL on {host.name}"


def stop_patroni_in_its_tracks(cluster: Cluster) -> str:
    """Patroni and PostgreSQL stand still and go on when another one has taken over."""
    host = cluster.primary()
    with _stopped(host, PATRONI):
        time.sleep(AWAY_SECONDS)
    return f"SIGSTOP of Patroni and PostgreSQL on {host.name} for {AWAY_SECONDS:g} s"


def freeze_primary(cluster: Cluster) -> str:
    """The whole host of the primary stands still, and goes on with what it held."""
    host = cluster.primary()
    with power.frozen(host):
        time.sleep(AWAY_SECONDS)
    return f"{host.name}, of the primary, stood still for {AWAY_SECONDS:g} s"


def partition_primary(cluster: Cluster) -> str:
    """The primary works and is alone: no other host and no client reaches it."""
    host = cluster.primary()
    with power.cut_off(host):
        time.sleep(AWAY_SECONDS)
        role = host.run(f"{PSQL} -c 'SELECT pg_is_in_recovery()'", check=False).output.strip()
    still = "was still a primary, without a standby to acknowledge a write" if role == "f" else "had stepped down"
    return f"{host.name}, of the primary, was cut off for {AWAY_SECONDS:g} s; at the end it {still}"


def cut_power_of(number: int) -> Strike:
    """A host loses its power, with all that it is, and boots later without a hand."""

    def strike(cluster: Cluster) -> str:
        host = cluster.hosts[number - 1]
        had = _duties(cluster, host)
        with power.without_power(host):
            time.sleep(AWAY_SECONDS)
        return f"{host.name} ({had}) without power for {AWAY_SECONDS:g} s"

    return strike


def lose_edge(cluster: Cluster) -> str:
    """The host that has the public address loses its power."""
    host = cluster.edge()
    had = _duties(cluster, host)
    with power.without_power(host):
        time.sleep(AWAY_SECONDS)
    return f"the edge, {host.name} ({had}), without power for {AWAY_SECONDS:g} s"


def lose_app_host(cluster: Cluster) -> str:
    """A host loses its power that has instances and nothing that only one can be: the others answer in its place."""
    host = spare(cluster)
    with power.without_power(host):
        time.sleep(AWAY_SECONDS)
    return f"{host.name} ({_duties(cluster, host)}) without power for {AWAY_SECONDS:g} s"


def spare(cluster: Cluster) -> Host:
    """A host that neither has the public address nor leads anything; what it leads is given to others first."""
    host = next(one for one in reversed(cluster.hosts) if one is not cluster.edge())
    if cluster.primary() is host:
        move_primary(cluster)
        # Others move by themselves after it.
        cluster.wait_until_whole(240)
    if cluster.redis_master() is host:
        with _stopped(host, REDIS):
            _wait_for(lambda: cluster.redis_master() is not host, "another Redis master")
    if cluster.etcd_leader() is host:
        other = next(one for one in cluster.others(host) if one is not cluster.primary())
        number = int(cluster.look()[other.name]["etcd"]["header"]["member_id"])
        host.run(f"{ETCDCTL} move-leader {number:x}")
    cluster.wait_until_whole(240)
    return host


def move_primary(cluster: Cluster) -> str:
    """Patroni's own planned move."""
    host = cluster.primary()
    to = next(one for one in cluster.others(host) if one is not cluster.edge())
    ctl = "patronictl -c /etc/patroni/config.yml"
    host.run(f"{ctl} switchover hecto --leader {host.name} --candidate {to.name} --force")
    _wait_for(lambda: cluster.primary() is to, f"{to.name} as the primary")
    return f"switchover from {host.name} to {to.name}"


def kill_instance(cluster: Cluster) -> str:
    """kill -9 of every process of an instance of each host, one host after the other."""
    for host in cluster.hosts:
        host.run("systemctl kill -s KILL hecto@1.service")
        time.sleep(3)
    return "kill -9 of instance 1 on each host, one after the other"


def lose_etcd(of: str) -> Strike:
    """A voter is away: the leader, or one that follows. Two of three are a majority."""

    def strike(cluster: Cluster) -> str:
        leader = cluster.etcd_leader()
        host = leader if of == "leader" else cluster.others(leader)[0]
        with _off(host, ETCD):
            time.sleep(AWAY_SECONDS)
        return f"kill -9 of etcd's {of} on {host.name}, away for {AWAY_SECONDS:g} s"

    return strike


def kill_redis(cluster: Cluster) -> str:
    """Redis' master dies; systemd starts it again while the Sentinels choose another one."""
    host = cluster.redis_master()
    _signal(host, REDIS, "KILL")
    return f"kill -9 of the Redis master on {host.name}"


def lose_redis(cluster: Cluster) -> str:
    """Redis' master dies and stays away until another one is master."""
    host = cluster.redis_master()
    with _off(host, REDIS):
        time.sleep(AWAY_SECONDS)
    return f"kill -9 of the Redis master on {host.name}, away for {AWAY_SECONDS:g} s"


def freeze_redis(cluster: Cluster) -> str:
    """Redis' master stands still and goes on when another one is master."""
    host = cluster.redis_master()
    with _stopped(host, REDIS):
        time.sleep(AWAY_SECONDS)
    return f"SIGSTOP of the Redis master on {host.name} for {AWAY_SECONDS:g} s"


def _duties(cluster: Cluster, host: Host) -> str:
    """What a host is at the moment that only one can be, in words."""
    found = {
        "the public address": cluster.edge() is host,
        "the primary": cluster.primary() is host,
        "the Redis master": cluster.redis_master() is host,
        "the leader of etcd": cluster.etcd_leader() is host,
    }
    return "with " + (", ".join(name for name, has in found.items() if has) or "nothing that only one can be")


def _signal(host: Host, unit: str, name: str) -> None:
    host.run(f"systemctl kill -s {name} {unit}")


@contextmanager
def _stopped(host: Host, unit: str) -> Iterator[None]:
    """Every process of a unit stands still."""
    _signal(host, unit, "STOP")
    try:
        yield
    finally:
        _signal(host, unit, "CONT")


@contextmanager
def _off(host: Host, unit: str) -> Iterator[None]:
    """A unit dies and is not started again for a while."""
    host.run(f"systemctl mask --runtime --quiet {unit}; systemctl kill -s KILL {unit}")
    try:
        yield
    finally:
        host.run(f"systemctl unmask --runtime --quiet {unit}; systemctl start {unit}")


def _wait_for(ready: Callable[[], bool], what: str, seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    last = ""
    while time.monotonic() < deadline:
        try:
            if ready():
                return
        except AssertionError as error:
            last = f": {error}"  # nobody is, or two are, while it moves
        time.sleep(1.0)
    raise AssertionError(f"after {seconds:.0f} s there is no {what}{last}")
