"""Faults that need something put up before they strike: a small disk, another clock, an operator at work."""

from __future__ import annotations

import shlex
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from tests.chaos.commands import PSQL, Done, Hecto, Host
from tests.chaos.variants import Built
from tests.cluster.cluster import Cluster
from tests.cluster.faults import PATRONI, Strike, _wait_for, move_primary

WHOLE_SECONDS = 240.0
# More than the database and its log have in a test, and little enough to be filled in a moment.
DISK_MB = 700
FULL_SECONDS = 30.0
DATA = "/var/lib/postgresql"
FAKETIME = "/run/hecto-clock"
# Reads the offset anew at each look at the clock. Waits and timeouts go by a clock that nobody sets, as on a real host.
CLOCK_DROPIN = f"""[Service]
Environment=LD_PRELOAD=/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1
Environment=FAKETIME_TIMESTAMP_FILE={FAKETIME}
Environment=FAKETIME_NO_CACHE=1 FAKETIME_DONT_FAKE_MONOTONIC=1 FAKETIME_DISABLE_SHM=1
"""
HOUR_AHEAD, RIGHT = "+1h", "+0"
CLOCK_SECONDS = 30.0


def switchover(hecto: Hecto) -> Strike:
    """The primary is moved by the playbook, as before work on its host."""

    def strike(cluster: Cluster) -> str:
        before = cluster.primary()
        done = _well(hecto.playbook("switchover.yml"))
        after = cluster.primary()
        assert after is not before, f"the primary is still on {before.name}"
        return f"planned switchover from {before.name} to {after.name}, by the playbook, in {done.seconds} s"

    return strike


def deploy_and_switch_over(hecto: Hecto, built: Built) -> Strike:
    """A release is rolled out, and while its instances move so does the primary."""

    def strike(cluster: Cluster) -> str:
        before = {host.name: host.processes() for host in cluster.hosts}
        results: list[Done] = []
        deploy = threading.Thread(target=lambda: results.append(hecto.deploy(built.command)))
        deploy.start()
        try:
            first = cluster.hosts[0]
            _wait_for(lambda: first.processes() != before[first.name], "first instance on the new release", 400)
            said = move_primary(cluster)
            assert deploy.is_alive(), "the deploy was over before the switchover was"
        finally:
            deploy.join()
        _well(results[0])
        running = {release for host in cluster.hosts for release in host.releases().values()}
        assert running == {built.id}, f"instances run {running} instead of {built.id}"
        return f"deploy of {built.id} in {results[0].seconds} s, and while instances moved: {said}"

    return strike


def remove_app_host(hecto: Hecto) -> Strike:
    """A host stops working for people, and later takes part again, each by a playbook."""

    def strike(cluster: Cluster) -> str:
        host = cluster.hosts[-1]
        gone = _well(hecto.playbook("remove-app-host.yml", "-e", f"hecto_leaving={host.name}"))
        assert not any(host.processes().values()), f"instances still run on {host.name}"
        back = _well(hecto.playbook("site.yml"))
        assert all(host.processes().values()), f"not all instances run on {host.name}"
        return f"{host.name} out of the app hosts in {gone.seconds:g} s, and in again by site.yml in {back.seconds:g} s"

    return strike


def update_hosts(hecto: Hecto) -> Strike:
    """Debian's updates and a restart, host by host."""

    def strike(cluster: Cluster) -> str:
        before = {host.name: host.booted() for host in cluster.hosts}
        done = _well(hecto.playbook("os-update.yml", "-e", "os_update_reboot=true"))
        same = [host.name for host in cluster.hosts if host.booted() == before[host.name]]
        assert not same, f"not restarted: {', '.join(same)}"
        return f"os-update.yml restarted {len(before)} hosts, one after the other, in {done.seconds:g} s"

    return strike


def renew_certificates(hecto: Hecto) -> Strike:
    """Another authority between the hosts: first it is believed, then each host gets a certificate of it."""

    def strike(_cluster: Cluster) -> str:
        first, second = (
            _well(hecto.playbook("site.yml", "-e", f"certificates_renew={what}")) for what in ("authority", "hosts")
        )
        return f"site.yml with certificates_renew=authority in {first.seconds:g} s, and =hosts in {second.seconds:g} s"

    return strike


@contextmanager
def small_disk(cluster: Cluster) -> Iterator[Host]:
    """A standby whose database lies on a small disk of its own, made the primary; the data is put back after it."""
    host = next(one for one in cluster.others(cluster.primary()) if one is not cluster.edge())
    host.run(
        f"systemctl stop {PATRONI}; mkdir -p /mnt/hecto-data; mount --bind {DATA} /mnt/hecto-data; "
        f"mount -t tmpfs -o size={DISK_MB}m,mode=0755 hecto-small {DATA}; cp -a /mnt/hecto-data/. {DATA}/; "
        f"chown postgres:postgres {DATA}; systemctl start {PATRONI}"
    )
    try:
        cluster.wait_until_whole(WHOLE_SECONDS)
        leader = cluster.primary()
        leader.run(
            f"patronictl -c /etc/patroni/config.yml switchover hecto --leader {leader.name} "
            f"--candidate {host.name} --force"
        )
        _wait_for(lambda: cluster.primary() is host, f"{host.name} as the primary")
        cluster.wait_until_whole(WHOLE_SECONDS)
        yield host
    finally:
        if cluster.look()[host.name].get("database") == "primary":
            move_primary(cluster)
        host.run(f"systemctl stop {PATRONI}; umount {DATA}; umount /mnt/hecto-data; systemctl start {PATRONI}")


def fill_disk(cluster: Cluster) -> str:
    """The disk of the primary is full: PostgreSQL cannot write its log and ends, another one takes over."""
    host = cluster.primary()
    fill = f"{DATA}/hecto-chaos-fill"
    # A log in use may have room for a while; a switch of its file asks for a new one.
    host.run(
        f"dd if=/dev/zero of={fill} bs=1M status=none; for n in $(seq 20); do "
        f"{PSQL} -c 'SELECT pg_switch_wal()' || break; sleep 1; done",
        check=False,
    )
    try:
        time.sleep(FULL_SECONDS)
    finally:
        host.run(f"rm -f {fill}")
    return f"the disk of the database on {host.name}, {DISK_MB} MB, was full for {FULL_SECONDS:g} s"


@contextmanager
def own_clock(cluster: Cluster) -> Iterator[Host]:
    """A host whose instances and database read a clock that can be set.

    Not its etcd, which is in Go and asks the kernel, nor its Redis, whose allocator hangs when it asks for the time so.
    """
    host = cluster.hosts[-1]
    units = ["hecto@.service", PATRONI]
    drop = " ".join(f"/run/systemd/system/{unit}.d" for unit in units)
    host.run("DEBIAN_FRONTEND=noninteractive apt-get install -y -qq libfaketime >/dev/null")
    host.run(
        f"echo {RIGHT} > {FAKETIME}; chmod 644 {FAKETIME}; mkdir -p {drop}; "
        f"for d in {drop}; do printf %s {shlex.quote(CLOCK_DROPIN)} > $d/zz-clock.conf; done; systemctl daemon-reload"
    )
    try:
        _restart(cluster, host, units[1:])
        yield host
    finally:
        host.run(f"rm -f {' '.join(f'{d}/zz-clock.conf' for d in drop.split())}; systemctl daemon-reload")
        _restart(cluster, host, units[1:])


def _restart(cluster: Cluster, host: Host, units: list[str]) -> None:
    """Every service of a host, one after the other, and its instances."""
    for unit in units:
        host.run(f"systemctl restart {unit}")
        cluster.wait_until_whole(WHOLE_SECONDS)
    for number in host.numbers():
        host.run(f"systemctl restart hecto@{number}.service")
        cluster.wait_until_whole(WHOLE_SECONDS)


def move_clock(host: Host) -> Strike:
    """The clock of a host goes an hour ahead, and back."""

    def strike(_cluster: Cluster) -> str:
        try:
            host.run(f"echo {HOUR_AHEAD} > {FAKETIME}")
            time.sleep(CLOCK_SECONDS)
        finally:
            host.run(f"echo {RIGHT} > {FAKETIME}")
        return f"the clock of {host.name} an hour ahead for {CLOCK_SECONDS:g} s, and back"

    return strike


def _well(done: Done) -> Done:
    assert done.code == 0, f"{done.words} ended with {done.code}:\n{done.output[-3000:]}{done.errors[-1000:]}"
    return done
