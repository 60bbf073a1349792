"""What processes cost: their processor time to the nanosecond, and the memory that is theirs."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path


def cpu_ns(pid: int) -> int:
    """User and system time of a process, of all its threads, also of those that have ended, in nanoseconds.

    /proc/PID/stat counts in hundredths of a second, and /proc/PID/schedstat knows the first thread alone.
    """
    # The clock of another process, as clock_getcpuclockid(3) makes its number, which Python has no name for.
    return time.clock_gettime_ns((~pid << 3) | 2)


def all_cpu_ns(pids: Iterable[int]) -> int:
    """The processor time of several processes."""
    return sum(cpu_ns(pid) for pid in pids)


@dataclass(frozen=True)
class Memory:
    """What one process holds in bytes: resident, its share of what several have, and what it has alone."""

    rss: int
    pss: int
    private: int


def memory(pid: int) -> Memory:
    """How much a process holds now; what the kernel holds for it, such as buffers of sockets, is not in it."""
    found = {}
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]:
        name, _, rest = line.partition(":")
        found[name] = int(rest.split()[0]) * 1024
    return Memory(found["Rss"], found["Pss"], found["Private_Clean"] + found["Private_Dirty"])
