"""Who changed the fleet, when and how it went: one line of JSON for each command that did something."""

import json
import os
import pwd
import sys
import time
from pathlib import Path
from typing import Any


def write(path: Path, who: str, command: str, seconds: float, result: dict[str, Any]) -> None:
    """Add a line. A full disk must not turn a roll that went well into a failed one, so it is said and no more."""
    line = {
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "who": who,
        "command": command,
        "seconds": round(seconds, 1),
        **result,
    }
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o640)
        with os.fdopen(descriptor, "a") as handle:
            handle.write(json.dumps(line) + "\n")
    except OSError as error:
        print(f"hecto-fleet: {path} cannot be written: {error.strerror}. The command itself went on.", file=sys.stderr)


def read(path: Path) -> list[dict[str, Any]]:
    """Every line, oldest first. A line that a crash cut short is left out."""
    try:
        lines = path.read_text().splitlines()
    except FileNotFoundError:
        return []
    found = []
    for line in lines:
        try:
            found.append(json.loads(line))
        except ValueError:
            continue
    return found


def who(given: str | None = None) -> str:
    """Who runs this: as they were announced, or the user behind sudo."""
    return given or os.environ.get("SUDO_USER") or pwd.getpwuid(os.getuid()).pw_name
