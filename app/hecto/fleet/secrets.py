"""Writes the secrets that units load: root's own files, never world-readable for a moment."""

import os
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path

from hecto.fleet.errors import UsageError

_NAME = re.compile(r"[a-z][a-z0-9-]*")


def write(directory: Path, wanted: Mapping[str, str], *, check: bool = False) -> list[str]:
    """Make each file hold its secret; the names of those that changed. Values never appear in a message."""
    for name, value in wanted.items():
        if not _NAME.fullmatch(name) or not isinstance(value, str) or not value.strip():
            raise UsageError(
                f"Secret {name!r} is empty or has an unusable name. No secret was written; give it a value."
            )
    changed = [name for name, value in wanted.items() if not _holds(directory / name, value)]
    for name in changed if not check else ():
        _replace(directory / name, wanted[name])
    return changed


def _holds(path: Path, value: str) -> bool:
    try:
        status = path.stat()
        return path.read_text() == value and status.st_mode & 0o777 == 0o600 and status.st_uid == os.geteuid()
    except FileNotFoundError:
        return False


def _replace(path: Path, value: str) -> None:
    # mkstemp makes the file 0600 from its first moment.
    descriptor, fresh = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    with os.fdopen(descriptor, "w") as file:
        file.write(value)
        os.fsync(file.fileno())
    os.replace(fresh, path)
