"""Containers: which runtime works on this kernel, and which options let a container run its own systemd."""

from __future__ import annotations

import json
import resource
from pathlib import Path
from typing import Any

from control.shell import Command, as_root, attempt, output

PID_MAX = int(Path("/proc/sys/kernel/pid_max").read_text())
CGROUP_V2 = Path("/sys/fs/cgroup/cgroup.controllers")


def runtime() -> str:
    """The OCI runtime for this kernel: crun refuses version 1 and hybrid control groups, runc boots on them."""
    return "crun" if CGROUP_V2.exists() else "runc"


def podman(*words: str | Path) -> list[str]:
    """A podman command line."""
    return as_root(["podman", "--runtime", runtime(), *words])


def systemd_options() -> list[str]:
    """Options for a container whose PID 1 is systemd and whose units may be sandboxed as on bare metal."""
    options = [
        *limit_options(),
        "--systemd=always",
        # Mount name spaces, nftables and tracing for hardened units; without them they end in 226/NAMESPACE.
        # --privileged would do too, but boots degraded, because it also shows the control machine's devices.
        "--cap-add=SYS_ADMIN,NET_ADMIN,SYS_PTRACE",
        "--security-opt=seccomp=unconfined",
        "--security-opt=unmask=ALL",
        "--pids-limit=-1",  # systemd limits each unit by itself
        "--shm-size=1g",  # PostgreSQL's parallel queries; podman's default of 64 MB is too small
    ]
    if Path("/sys/module/apparmor/parameters/enabled").exists() and Path("/etc/apparmor.d").exists():
        # Ubuntu's default profile for containers denies the mounts that sandboxed units make.
        options.append("--security-opt=apparmor=unconfined")
    return options


def limit_options() -> list[str]:
    """Limits that every container here needs: podman's own can be above ours, and then the runtime fails."""
    options = []
    limits = {"nofile": resource.RLIMIT_NOFILE, "nproc": resource.RLIMIT_NPROC, "memlock": resource.RLIMIT_MEMLOCK}
    for name, number in limits.items():
        hard = resource.getrlimit(number)[1]
        if name == "nproc":
            # podman lowers its own limit to the kernel's highest process id before it starts the runtime.
            hard = min(hard, PID_MAX) if hard >= 0 else PID_MAX
        options.append(f"--ulimit={name}={hard}:{hard}")
    return options


def image_exists(image: str) -> bool:
    """Whether a local image of this name is there."""
    return attempt(podman("image", "exists", image)).returncode == 0


def inspect(container: str) -> dict[str, Any] | None:
    """What podman knows about a container, or None where there is no such container."""
    done = attempt(podman("container", "inspect", container))
    if done.returncode != 0:
        return None
    found: dict[str, Any] = json.loads(done.stdout)[0]
    return found


def running(container: str) -> bool:
    """Whether the container runs."""
    found = inspect(container)
    return found is not None and bool(found["State"]["Running"])


def execute(container: str, command: Command, stdin: str | None = None) -> str:
    """Run a command inside and return its output."""
    return output(podman("exec", *(["-i"] if stdin is not None else []), container, *command), stdin=stdin)
