"""One run at a time: a lock that dies with its holder and says who holds it."""

import fcntl
import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hecto.fleet import audit
from hecto.fleet.errors import LockedError
from hecto.fleet.words import clock


@contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Hold the fleet, or say who does. The kernel frees the lock when the holder ends, however it ends."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o644)
    try:
        if not _lock(descriptor):
            raise LockedError(
                f"Another run is changing the fleet: {_describe(os.pread(descriptor, 4096, 0))}. "
                "Nothing was changed. Wait until it has ended, then run this again."
            )
        _sign(descriptor)
        yield
    finally:
        os.close(descriptor)


def is_free(path: Path) -> bool:
    """Whether nobody holds the fleet at this moment."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    except FileNotFoundError:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(descriptor)
    return True


def _lock(descriptor: int) -> bool:
    # More than once: whoever looks whether the lock is free has it for a moment.
    for _ in range(10):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(0.03)
        else:
            return True
    return False


def _sign(descriptor: int) -> None:
    holder = {
        "who": audit.who(),
        "pid": os.getpid(),
        "since": clock(time.time()),
        "command": " ".join(["hecto-fleet", *sys.argv[1:]]),
    }
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, json.dumps(holder).encode(), 0)


def _describe(content: bytes) -> str:
    try:
        holder = json.loads(content)
        return f"{holder['who']} since {holder['since']} (process {holder['pid']}: {holder['command']})"
    except (ValueError, KeyError, TypeError):
        return "it started this very moment"
