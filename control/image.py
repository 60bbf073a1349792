"""Images that hosts boot from and releases are built in: plain Debian, made here, so no image registry is needed."""

from __future__ import annotations

import hashlib
import os
import shlex
import subprocess
from pathlib import Path

from control.podman import image_exists, limit_options, podman
from control.progress import Failure, tail
from control.shell import as_root, locked, run
from control.site import CACHE, CHECKOUT

# What a real server has after Debian's installer, and python3-apt for Ansible.
BASE_PACKAGES = (
    "ca-certificates",
    "dbus",
    "iproute2",
    "kmod",
    "libpam-systemd",
    "openssh-server",
    "procps",
    "python3",
    "python3-apt",
    "sudo",
    "systemd",
    "systemd-sysv",
    "tzdata",
    "zstd",
)
# For releases: the compiler stays here, hosts get the compiled result.
BUILD_PACKAGES = (
    "gcc",
    "libc6-dev",
    "libpq-dev",
    "python3-dev",
    "python3-pip",
    "python3-setuptools",
    "python3-venv",
    "python3-wheel",
)

# Debian 13's sshd punishes an address after failed connections by refusing all of its connections for a while. All
# clients of a local host have one address, the bridge's, so one failed test would shut everyone out.
SSHD = {"trixie": "PerSourcePenalties no\n", "bookworm": ""}
# Every host makes its own host keys at its first boot; those of the image are removed.
HOST_KEYS_UNIT = """\
[Unit]
Description=Make the SSH host keys of this machine
Before=ssh.service
ConditionPathExists=!/etc/ssh/ssh_host_ed25519_key

[Service]
Type=oneshot
ExecStart=/usr/bin/ssh-keygen -A

[Install]
WantedBy=multi-user.target
"""


def base_image(suite: str) -> str:
    """The name of the base image: a change of its recipe is another image."""
    recipe = repr((BASE_PACKAGES, SSHD[suite], HOST_KEYS_UNIT, _customise(suite), mirror()))
    return f"localhost/hecto-base:{suite}-{_digest(recipe)}"


def build_image(suite: str) -> str:
    """The name of the image that releases are built in."""
    return f"localhost/hecto-build:{suite}-{_digest(base_image(suite) + repr(BUILD_PACKAGES))}"


def mirror() -> list[str]:
    """A Debian mirror of the site's own, where there is one; otherwise mmdebstrap knows Debian's."""
    own = os.environ.get("HECTO_DEBIAN_MIRROR")
    return [own] if own else []


def ensure_base_image(suite: str) -> str:
    """Make the base image unless it is there, and return its name."""
    image = base_image(suite)
    with locked(CACHE / "lock" / f"image-{suite}", "makes an image"):
        if not image_exists(image):
            _bootstrap(suite, image, CACHE / "log" / f"image-{suite}.log")
    return image


def ensure_build_image(suite: str) -> str:
    """Make the image with compiler and headers unless it is there, and return its name."""
    image, base = build_image(suite), ensure_base_image(suite)
    with locked(CACHE / "lock" / f"image-{suite}", "makes an image"):
        if not image_exists(image):
            log = CACHE / "log" / f"image-{suite}.log"
            container = f"hecto-image-{suite}-{CHECKOUT}"
            get = "DEBIAN_FRONTEND=noninteractive apt-get -qy install --no-install-recommends"
            install = f"apt-get -q update && {get} {' '.join(BUILD_PACKAGES)} && apt-get clean"
            try:
                # The network of the control machine: nothing listens here, and proxies work as they do outside.
                run(
                    podman(
                        "run",
                        *limit_options(),
                        "--replace",
                        f"--name={container}",
                        "--network=host",
                        base,
                        "/bin/sh",
                        "-ec",
                        install,
                    ),
                    log=log,
                )
                run(podman("commit", "-q", container, image), log=log)
            finally:
                run(podman("rm", "--force", "--ignore", container), log=log)
    return image


def _bootstrap(suite: str, image: str, log: Path) -> None:
    log.parent.mkdir(parents=True, exist_ok=True)
    make = [
        "mmdebstrap",
        "--variant=minbase",
        f"--include={','.join(BASE_PACKAGES)}",
        f"--customize-hook={_customise(suite)}",
        suite,
        "-",
        *mirror(),
    ]
    load = podman("import", "--quiet", "--change", "STOPSIGNAL=SIGRTMIN+3", "-", image)
    with log.open("a") as sink:
        producer = subprocess.Popen(as_root(make), stdout=subprocess.PIPE, stderr=sink)
        consumer = subprocess.Popen(load, stdin=producer.stdout, stdout=sink, stderr=sink)
        if producer.stdout:
            producer.stdout.close()
        codes = producer.wait(), consumer.wait()
    if any(codes):
        if codes[0]:  # an incomplete archive may have been imported all the same
            run(podman("image", "rm", "--force", image), log=log)
        raise Failure(
            f"the base image for Debian {suite} could not be made",
            log=log,
            tail=tail(log),
            advice="look whether this machine reaches a Debian mirror; HECTO_DEBIAN_MIRROR=URL names one of your own",
        )


def _customise(suite: str) -> str:
    """The hook that mmdebstrap runs when all packages are unpacked; $1 is the new root."""
    return "; ".join(
        [
            "set -eu",
            'rm -f "$1"/etc/ssh/ssh_host_*',
            ': > "$1"/etc/machine-id',  # empty: each host makes its own
            f'printf %s {shlex.quote(SSHD[suite])} > "$1"/etc/ssh/sshd_config.d/test-host.conf',
            f'printf %s {shlex.quote(HOST_KEYS_UNIT)} > "$1"/etc/systemd/system/ssh-host-keys.service',
            'chroot "$1" systemctl enable --quiet ssh-host-keys.service ssh.service',
        ]
    )


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]
