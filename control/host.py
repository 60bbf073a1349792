"""Local hosts: a Debian of its own with systemd as PID 1, in a container, reached over SSH like a real machine."""

from __future__ import annotations

import errno
import socket
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from control import podman
from control.image import ensure_base_image
from control.network import LABEL, ensure_network, remove_network
from control.podman import podman as podman_command
from control.progress import Failure, Step, say, step
from control.shell import as_root, attempt, output, run
from control.site import CACHE, PORTS, Host, Site

BOOT_SECONDS = 120  # it takes 3 to 6; a busy machine with a full fleet to start needs more
PROBE_SECONDS = 2  # a port of this machine answers at once, or refuses
STOP_SECONDS = 60  # time for a hundred instances to finish their requests and for PostgreSQL's last checkpoint
# Hosts of a cluster move addresses between them, for which keepalived sends packets of its own making.
CLUSTER_OPTIONS = ("--cap-add=NET_RAW",)


def ensure_hosts(site: Site) -> Site:
    """Make sure that the hosts run and answer SSH. Returns the site, with its network where it has one."""
    if site.is_cluster:
        site = replace(site, network=ensure_network(site.container, str(site.directory)))
    for host in site.hosts:
        with step(f"Host {host.container} (Debian {site.suite}, systemd)") as current:
            done = _ensure(site, host, current)
            current.title += {"created": ": made and booted", "started": ": started", "running": ": runs"}[done]
    _let_in(site)
    return site


def _ensure(site: Site, host: Host, current: Step) -> str:
    """Make sure that a host runs. Returns what was done: 'created', 'started' or 'running'."""
    found = podman.inspect(host.container)
    if found:
        _require_own(site, host, found)
        _require_state(site, host)
    if found and found["State"]["Running"]:
        done = "running"
    else:
        if not site.is_cluster:
            require_free_ports(site)
        if found:
            done = "started"
            output(
                podman_command("start", host.container),
                advice=f"its console says more: sudo podman logs --tail=30 {host.container}; what cannot be mended, "
                "'./hecto destroy && ./hecto up' makes anew, without its data",
            )
        else:
            done = "created"
            current.note("making the base image")
            image = ensure_base_image(site.suite)
            current.note("booting")
            site.save_host()
            _create(site, host, image)
    site.save_host()
    _wait_until_booted(host)
    return done


def stop_hosts(site: Site) -> None:
    """Stop the hosts as machines are shut down: their units end in order."""
    for host in site.hosts:
        output(
            podman_command("stop", f"--time={STOP_SECONDS}", host.container),
            advice="a host may run on; look: sudo podman ps --all; then run ./hecto down again",
        )


def remove_hosts(site: Site, *, anyones: bool = False) -> None:
    """Remove the hosts with their data, and all state of the site on the control machine.

    anyones: also where another checkout made it, as tests do with what an earlier run left.
    """
    for host in site.hosts:
        if found := podman.inspect(host.container):
            if not anyones:
                _require_own(site, host, found)
            _keep_packages(site, host)
            # At once: nobody wants its data, and one that ends just when podman loses patience is not removed.
            output(
                podman_command("rm", "--force", "--volumes", "--time=0", host.container),
                advice="a part of the host may be left; look: sudo podman ps --all; then run ./hecto destroy again",
            )
    if site.is_cluster:
        remove_network(site.container)
    if site.directory.exists():
        # As root: downloaded packages belong to it.
        output(as_root(["rm", "-rf", "--one-file-system", site.directory]))


def ssh_command(site: Site, *words: str, tty: bool = False, of: Host | None = None) -> list[str]:
    """An ssh command line to a host, the first by default; `words` is the remote command, quoted for its shell."""
    host = of or site.hosts[0]
    return [
        "ssh",
        *(["-t"] if tty else ["-T"]),
        "-p",
        str(host.ssh_port),
        "-i",
        str(site.directory / "ssh_key"),
        "-o",
        f"UserKnownHostsFile={site.directory / 'known_hosts'}",
        "-o",
        "StrictHostKeyChecking=yes",
        "-o",
        "IdentitiesOnly=yes",
        "-o",
        "BatchMode=yes",
        "-o",
        "LogLevel=ERROR",
        "-o",
        "ConnectTimeout=10",
        f"root@{host.address}",
        *words,
    ]


def require_running(site: Site) -> None:
    """Stop with a clear message where a host does not run."""
    if not site.saved or podman.inspect(site.hosts[0].container) is None:
        raise Failure(f"there is no site '{site.name}' yet", advice="make it: ./hecto up")
    stopped = [host.container for host in site.hosts if not podman.running(host.container)]
    if len(stopped) == len(site.hosts):
        raise Failure(f"the site '{site.name}' is stopped", advice="start it: ./hecto up")
    if stopped:
        say(f"  note: {', '.join(stopped)} does not run; ./hecto up starts it")


def keep_packages(site: Site) -> None:
    """Put newly downloaded Debian packages into the cache that all hosts of a suite share."""
    for host in site.hosts:
        _keep_packages(site, host)


def _keep_packages(site: Site, host: Host) -> None:
    own, shared = _package_directories(site, host)
    if own.exists():
        # Hard links cost no space, and apt never changes a package file in place, so no host can spoil another's.
        output(
            as_root(["find", own, "-maxdepth", "1", "-name", "*.deb", "-exec", "cp", "-ln", "-t", shared, "{}", "+"])
        )


def _require_own(site: Site, host: Host, found: dict[str, Any]) -> None:
    """Stop where the container was made from another checkout."""
    owner = (found["Config"]["Labels"] or {}).get(LABEL, str(site.directory))
    if owner != str(site.directory):
        raise Failure(
            f"the container {host.container} belongs to {owner}",
            advice="choose another name with HECTO_NAME=NAME and other ports, or remove it from that checkout",
        )


def _require_state(site: Site, host: Host) -> None:
    """Stop where the keys and secrets of a container are gone."""
    if not site.saved:
        raise Failure(
            f"the container {host.container} is there, but what belongs to it in {site.directory} is not",
            advice="remove the container and begin anew: ./hecto destroy",
        )


def _create(site: Site, host: Host, image: str) -> None:
    own, shared = _package_directories(site, host)
    shared.mkdir(parents=True, exist_ok=True)
    output(as_root(["mkdir", "-p", own]))
    output(as_root(["find", shared, "-maxdepth", "1", "-name", "*.deb", "-exec", "cp", "-ln", "-t", own, "{}", "+"]))
    if site.is_cluster:
        reached = [f"--network={site.container}", f"--ip={host.address}", *CLUSTER_OPTIONS]
    else:
        reached = [
            f"--publish=127.0.0.1:{getattr(site, key)}:{inside}"
            for key, inside in (("https_port", 443), ("http_port", 80), ("ssh_port", 22))
        ]
    log = site.log / "host.log"
    command = podman_command(
        "run",
        "--detach",
        f"--name={host.container}",
        f"--hostname={host.container}",
        f"--label={LABEL}={site.directory}",
        *podman.systemd_options(),
        *reached,
        # apt locks this directory, so every host has its own; its files are linked with the shared cache.
        f"--volume={own}:/var/cache/apt/archives",
        f"--stop-timeout={STOP_SECONDS}",
        # A reboot ends PID 1, and a machine comes back from that. What was stopped or killed from outside stays down.
        "--restart=always",
        image,
        # Mounts are shared between name spaces on a real machine, and systemd hands units their credentials that way;
        # in a container they are private, and units would find the directory of their credentials missing.
        "/bin/sh",
        "-c",
        "mount --make-rshared / && exec /sbin/init",
    )
    run(command, log=log, advice="look at the log; './hecto destroy' removes what is half made")


def _package_directories(site: Site, host: Host) -> tuple[Path, Path]:
    own = site.directory / "apt"
    return own / host.container if site.is_cluster else own, CACHE / "apt" / site.suite


def _wait_until_booted(host: Host) -> None:
    # sshd answers before the boot is done, and D-Bus is not there in the first moment: only systemd's own word counts.
    deadline = time.monotonic() + BOOT_SECONDS
    state = ""
    while time.monotonic() < deadline:
        state = attempt(podman_command("exec", host.container, "systemctl", "is-system-running")).stdout.strip()
        if state == "running":
            return
        if state == "degraded":
            failed = podman.execute(host.container, ["systemctl", "--failed", "--plain", "--no-legend"])
            say(f"  note: the host is up, but these units failed:\n{failed}")
            return
        if not podman.running(host.container):
            break
        time.sleep(0.3)
    console = attempt(podman_command("logs", "--tail", "15", host.container))
    raise Failure(
        f"the host {host.container} did not boot (its state: {state or 'not running'})",
        tail=(console.stdout + console.stderr).strip(),
        advice="'./hecto destroy && ./hecto up' makes it anew",
    )


def _let_in(site: Site) -> None:
    """Give the site a key of its own, let it in, and write down the hosts' keys before the first connection."""
    key = site.directory / "ssh_key"
    if not key.exists():
        output(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", f"hecto {site.name}", "-f", key],
            advice=f"without its key nobody gets in: look whether {key.parent} is yours and the disk has room; "
            "then run ./hecto up again",
        )
    lines = [_let_into(host, key.with_suffix(".pub").read_text()) for host in site.hosts]
    (site.directory / "known_hosts").write_text("".join(lines))
    for host in site.hosts:
        done = attempt(ssh_command(site, "true", of=host))
        if done.returncode != 0:
            raise Failure(
                f"the host {host.container} runs but does not answer SSH",
                tail=done.stderr.strip(),
                advice=f"look inside: podman exec -it {host.container} bash",
            )


def _let_into(host: Host, public: str) -> str:
    """Let the owner of a key in. Returns the host's own key, as known_hosts has it."""
    podman.execute(
        host.container,
        [
            "sh",
            "-ec",
            "umask 077; mkdir -p /root/.ssh; cd /root/.ssh; cat > new; mv new authorized_keys",
        ],
        stdin=public,
    )
    words = podman.execute(host.container, ["cat", "/etc/ssh/ssh_host_ed25519_key.pub"]).split()
    name = host.address if host.ssh_port == 22 else f"[{host.address}]:{host.ssh_port}"
    return f"{name} {words[0]} {words[1]}\n"


def require_free_ports(site: Site) -> None:
    """Stop with a clear message where another program has one of the ports."""
    for key, (variable, _) in PORTS.items():
        port = getattr(site, key)
        if why := _taken(port):
            raise Failure(
                f"port {port} of 127.0.0.1 cannot be used: {why}",
                advice=f"stop what uses it (ss -ltnp 'sport = :{port}' shows it), "
                f"or choose another: {variable}=PORT ./hecto up",
            )


def _taken(port: int) -> str:
    """Why nobody can listen on the port; empty where somebody can."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a port in TIME_WAIT is free
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            # One below 1024 we may not have, but podman, which runs as root, may.
            if error.errno != errno.EACCES:
                return error.strerror or str(error)
        else:
            return ""
    with socket.socket() as probe:
        probe.settimeout(PROBE_SECONDS)
        return "Address already in use" if probe.connect_ex(("127.0.0.1", port)) == 0 else ""
