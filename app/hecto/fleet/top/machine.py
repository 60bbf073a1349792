"""The machine itself: load, processors, memory, disks. All of it is read from /proc."""

import os
from pathlib import Path
from typing import Any

# What fills up and is no disk: memory, and images that are full by nature.
_NOT_DISKS = {"tmpfs", "devtmpfs", "squashfs", "iso9660", "erofs", "ramfs", "fuse.lxcfs", "overlayfs"}
_TICKS = os.sysconf("SC_CLK_TCK")


class Machine:
    """Remembers the counters of the look before: what a processor did is a difference."""

    def __init__(self, proc: Path = Path("/proc")) -> None:
        self._proc = proc
        self._before: tuple[int, int] | None = None

    def look(self) -> dict[str, Any]:
        """Load, the share of all processors in use, memory, and the file system that is fullest."""
        load = [float(word) for word in (self._proc / "loadavg").read_text().split()[:3]]
        return {
            "load": load,
            "cores": os.cpu_count() or 1,
            "cpu": self._busy(),
            "memory": memory((self._proc / "meminfo").read_text()),
            "disk": worst_disk((self._proc / "self" / "mounts").read_text()),
        }

    def _busy(self) -> float | None:
        spent = [int(word) for word in (self._proc / "stat").read_text().split("\n", 1)[0].split()[1:9]]
        now = (sum(spent), spent[3] + spent[4])
        before, self._before = self._before, now
        if before is None or now[0] <= before[0]:
            return None
        return round(1 - (now[1] - before[1]) / (now[0] - before[0]), 3)


def memory(meminfo: str) -> dict[str, int]:
    """Bytes in all, and those that a program could still have."""
    found = dict(line.split(":", 1) for line in meminfo.splitlines() if ":" in line)

    def of(name: str) -> int:
        return int(found.get(name, "0").split()[0]) * 1024

    return {"total": of("MemTotal"), "available": of("MemAvailable"), "swapped": of("SwapTotal") - of("SwapFree")}


def worst_disk(mounts: str) -> dict[str, Any] | None:
    """The writable file system with the smallest share left, by bytes or by inodes."""
    worst: dict[str, Any] | None = None
    for line in mounts.splitlines():
        device, mount, kind, options = line.split()[:4]
        if kind in _NOT_DISKS or "rw" not in options.split(",") or not (device.startswith("/") or kind == "overlay"):
            continue
        try:
            found = os.statvfs(mount.replace("\\040", " "))
        except OSError:
            continue
        if not found.f_blocks or not os.path.isdir(mount):
            # A single file that is mounted, as containers have them, is on a disk that is looked at by itself.
            continue
        used = 1 - found.f_bavail / (found.f_blocks - found.f_bfree + found.f_bavail or 1)
        inodes = 1 - found.f_favail / found.f_files if found.f_files else 0.0
        share = round(max(used, inodes), 4)
        if worst is None or share > worst["used"]:
            free = found.f_bavail * found.f_frsize
            worst = {"mount": mount, "used": share, "free": free, "of": "inodes" if inodes > used else "bytes"}
    return worst


def processor_seconds(pids: list[int], proc: Path = Path("/proc")) -> float | None:
    """What processes have used of processors so far, with what their ended children had."""
    found = [spent for pid in pids if (spent := _spent(proc / str(pid) / "stat")) is not None]
    return sum(found) / _TICKS if found else None


def _spent(stat: Path) -> int | None:
    try:
        # After the name, which may hold anything: user, system, and both of the children that have ended.
        words = stat.read_text().rsplit(")", 1)[1].split()
    except OSError:
        return None
    return sum(int(word) for word in words[11:15])


def tree(pid: int, proc: Path = Path("/proc")) -> list[int]:
    """A process and its descendants."""
    members = [pid] if pid > 0 else []
    for member in members:
        try:
            members += [int(child) for child in (proc / f"{member}/task/{member}/children").read_text().split()]
        except OSError:
            continue
    return members
