"""The only place that asks what time it is, so that tests can move it and no date is ever naive."""

from __future__ import annotations

from datetime import UTC, datetime


def now() -> datetime:
    """The current instant, in UTC, with its time zone."""
    return datetime.now(UTC)
