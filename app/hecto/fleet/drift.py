"""Compares what an instance runs with what it should run; a difference means that a roll is due."""

import shlex
from pathlib import Path

from hecto.fleet.layout import Layout
from hecto.fleet.supervisor import Unit

# What the unit itself adds to the environment file.
_OWN = {"HECTO_INSTANCE"}


def reasons(layout: Layout, unit: Unit, release: str | None, wanted_release: str) -> list[str]:
    """Why this running instance should be restarted, in words for a person; empty when it should not."""
    found = []
    if release != wanted_release:
        found.append(f"release {release or 'unknown'}")
    if names := changed_environment(layout, unit):
        found.append("environment " + " ".join(names))
    if names := changed_secrets(layout, unit):
        found.append("secret " + " ".join(names))
    if changed_files(unit):
        found.append("unit")
    return found


def changed_environment(layout: Layout, unit: Unit) -> list[str]:
    """Names of variables whose value in the file is not the one the process was started with."""
    running = process_environment(unit.pid)
    if running is None or not layout.environment.exists():
        return []
    wanted = read_environment(layout.environment)
    names = {name for name in running.keys() | wanted.keys() if name.startswith("HECTO_")} - _OWN
    return sorted(name for name in names if running.get(name) != wanted.get(name))


def changed_secrets(layout: Layout, unit: Unit) -> list[str]:
    """Names of secrets that are not the ones systemd handed to the process when it started."""
    handed = layout.credentials / f"hecto@{unit.number}.service"
    if not handed.is_dir():
        return []
    return sorted(path.name for path in handed.iterdir() if path.read_bytes() != _read(layout.secrets / path.name))


def changed_files(unit: Unit) -> bool:
    """Whether the unit or a drop-in of it was written after the process started."""
    # The change time, not the modification time: Ansible writes a file first and moves it into place later.
    return any(path.exists() and path.stat().st_ctime > unit.started for path in unit.files)


def process_environment(pid: int) -> dict[str, str] | None:
    """The environment a process was started with."""
    try:
        content = Path(f"/proc/{pid}/environ").read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return None
    pairs = dict(entry.split("=", 1) for entry in content.split("\0") if "=" in entry)
    return pairs if "HECTO_INSTANCE" in pairs else None


def read_environment(path: Path) -> dict[str, str]:
    """A systemd environment file of the plain kind that the role writes."""
    values = {}
    for line in path.read_text().splitlines():
        if line.strip() and not line.lstrip().startswith(("#", ";")):
            name, _, value = line.partition("=")
            value = value.strip()
            values[name.strip()] = "".join(shlex.split(value)) if value[:1] in ("'", '"') else value
    return values


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
