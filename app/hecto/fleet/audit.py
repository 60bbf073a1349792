"""Who changed the fleet, when, and how it went: one line of JSON for each command that did something."""

import json
import os
import pwd
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from hecto.fleet.words import clock

# Bytes after which a new file begins: thousands of lines, a deploy of a hundred instances writes about fifteen.
LARGEST = 1_000_000


def write(path: Path, who: str, command: str, seconds: float, result: dict[str, Any]) -> None:
    """Add a line. A full disk must not turn a roll that went well into a failed one, so it is said and no more."""
    line = {"time": clock(time.time()), "who": who, "command": command, "seconds": round(seconds, 1), **result}
    try:
        path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o640)
        with os.fdopen(descriptor, "r+b", buffering=0) as file:
            # After a line that a crash cut short a new one begins, or both would be lost.
            end = b"" if _ends_well(descriptor) else b"\n"
            file.write(end + json.dumps(line).encode() + b"\n")
    except OSError as error:
        print(f"hecto-fleet: {path} cannot be written: {error.strerror}. The command itself went on.", file=sys.stderr)


def _ends_well(descriptor: int) -> bool:
    size = os.fstat(descriptor).st_size
    return size == 0 or os.pread(descriptor, 1, size - 1) == b"\n"


def turn(path: Path) -> None:
    """Begin a new file when this one is large, and keep it in the place of the one before. Its caller has the lock.

    Whoever writes at this moment without the lock has one of the two files open, so that no line is lost.
    """
    # Of a directory that nobody can write to the next line will tell.
    with suppress(OSError):
        if path.stat().st_size > LARGEST:
            os.replace(path, _older(path))


def read(path: Path) -> list[dict[str, Any]]:
    """Every line that is kept, oldest first. A line that a crash cut short is left out."""
    lines: list[str] = []
    for file in (_older(path), path):
        with suppress(FileNotFoundError):
            lines += file.read_text(errors="replace").splitlines()
    return [found for line in lines if (found := _parse(line)) is not None]


def who(given: str | None = None) -> str:
    """Who runs this: as they were announced, or the user behind sudo."""
    return given or os.environ.get("SUDO_USER") or pwd.getpwuid(os.getuid()).pw_name


def _older(path: Path) -> Path:
    return path.with_name(f"{path.name}.1")


def _parse(line: str) -> dict[str, Any] | None:
    try:
        found = json.loads(line)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None
