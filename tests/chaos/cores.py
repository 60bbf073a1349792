"""How much of this machine's cores was used, second by second, and how much of it others took.

A latency means little without it: on a virtual machine that had to wait for its processors every request waits as well.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from tests.chaos import history


class Look(NamedTuple):
    """What /proc/stat has counted until a moment, over all cores, in its own units (proc_stat(5))."""

    at: float
    busy: int
    stolen: int
    total: int


def look() -> Look:
    """How it stands now."""
    first = Path("/proc/stat").read_text(encoding="ascii").partition("\n")[0]
    user, nice, system, idle, waiting, interrupts, soft, stolen = map(int, first.split()[1:9])
    busy = user + nice + system + interrupts + soft
    return Look(history.now(), busy, stolen, busy + idle + waiting + stolen)


def shares(looks: Sequence[Look], begin: float, end: float) -> dict[str, float]:
    """The shares of all cores that were busy and stolen in a time, in percent; 0 when it was too short to tell."""
    inside = [one for one in looks if begin <= one.at <= end]
    total = inside[-1].total - inside[0].total if inside else 0
    return {
        name: round(100 * (getattr(inside[-1], name) - getattr(inside[0], name)) / total, 1) if total else 0.0
        for name in ("busy", "stolen")
    }


class Watch:
    """Looks once a second until it is told to stop."""

    def __init__(self) -> None:
        self.looks: list[Look] = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._go, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Stop it, also when it has never begun."""
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join()

    def _go(self) -> None:
        while True:
            self.looks.append(look())
            if self._ended.wait(1.0):
                return
