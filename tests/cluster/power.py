"""The machines of a site from outside: the power button, a stop of all that runs on one, and the wires between them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from control.podman import podman
from control.shell import output
from tests.chaos.commands import Host

# Cuts a host off from everybody but whoever comes by ssh to its own address. ARP, too: an address that another host has
# taken over must not be answered for here.
CUT = """
table inet hecto_chaos {{
    chain in {{
        type filter hook input priority -300; policy accept;
        iif lo accept
        ip saddr {gateway} ip daddr {own} tcp dport 22 accept
        drop
    }}
    chain out {{
        type filter hook output priority -300; policy accept;
        oif lo accept
        ip daddr {gateway} ip saddr {own} tcp sport 22 accept
        drop
    }}
}}
table arp hecto_chaos {{
    chain in {{
        type filter hook input priority 0; policy accept;
        arp saddr ip != {gateway} drop
        arp daddr ip != {own} drop
    }}
    chain out {{
        type filter hook output priority 0; policy accept;
        arp daddr ip != {gateway} drop
        arp saddr ip != {own} drop
    }}
}}
"""
HEAL = "nft delete table inet hecto_chaos; nft delete table arp hecto_chaos"


def cut_power(host: Host) -> None:
    """Everything ends at once: nothing is said, nothing is written."""
    output(podman("kill", "--signal=KILL", host.machine.container))
    output(podman("wait", host.machine.container))


def switch_on(host: Host) -> None:
    """The host boots; nobody helps it."""
    output(podman("start", host.machine.container))


@contextmanager
def without_power(host: Host) -> Iterator[None]:
    """A power cut for a while."""
    cut_power(host)
    try:
        yield
    finally:
        switch_on(host)


@contextmanager
def frozen(host: Host) -> Iterator[None]:
    """Everything on the host stands still for a while and goes on as if nothing had been: a paused machine."""
    output(podman("pause", host.machine.container))
    try:
        yield
    finally:
        output(podman("unpause", host.machine.container))


@contextmanager
def cut_off(host: Host) -> Iterator[None]:
    """The host works, and nobody reaches it nor is reached by it, for a while."""
    rules = CUT.format(gateway=f"{host.site.network}.1", own=host.machine.address)
    host.run("nft -f -", stdin=rules)
    try:
        yield
    finally:
        host.run(HEAL)
