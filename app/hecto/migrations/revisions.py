"""Which revisions this release has, told without alembic, which would cost each instance several megabytes."""

from __future__ import annotations

from pathlib import Path

VERSIONS = Path(__file__).parent / "versions"


def known() -> list[str]:
    """The revisions of this release, oldest first: a file is named by its revision, a number, and what it does."""
    return sorted(path.name.split("_", 1)[0] for path in VERSIONS.glob("[0-9]*_*.py"))
