"""One run at a time: a lock that dies with its holder and says who holds it."""

import fcntl
import json
import os
import pwd
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hecto.fleet.errors import LockedError


@contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Hold the fleet, or say who does. The kernel frees the lock when the holder ends, however it ends."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o644)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise LockedError(
                f"Another run is changing the fleet: {_describe(os.pread(descriptor, 4096, 0))}. "
                "Nothing was changed. Wait until it has ended, then run this again."
            ) from None
        _sign(descriptor)
        yield
    finally:
        os.close(descriptor)


def is_free(path: Path) -> bool:
    """Whether nobody holds the fleet at this moment."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW)
    except FileNotFoundError:
        return True
    try:
        # Shared: looking is in nobody's way for longer than this call.
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(descriptor)
    return True


def _sign(descriptor: int) -> None:
    holder = {
        "who": os.environ.get("SUDO_USER") or pwd.getpwuid(os.getuid()).pw_name,
        "pid": os.getpid(),
        "since": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
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
