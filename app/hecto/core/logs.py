"""The log of an instance: one JSON object a line, with the request that it is about; the journal adds time and host."""

from __future__ import annotations

import json
import logging
import os
import sys
from typing import Any

import orjson

from hecto.core import trail

# journald divides lines of more than 48 KB, and half an object is none. Escaped, a text may be twice as long.
LONGEST_MESSAGE = 4_000
LONGEST_EXCEPTION = 16_000
# systemd reads how grave a line is from its beginning and takes that off (sd-daemon(3)).
_PRIORITIES = {logging.DEBUG: 7, logging.INFO: 6, logging.WARNING: 4, logging.ERROR: 3, logging.CRITICAL: 2}

security = logging.getLogger("hecto.security")


class JsonFormatter(logging.Formatter):
    """Writes a record, what a caller gave as ``extra={"fields": {...}}``, and the trail of the request."""

    def __init__(self, instance: str, release: str, *, for_journal: bool) -> None:
        super().__init__()
        self._fixed = {"instance": instance, "release": release}
        self._for_journal = for_journal

    def format(self, record: logging.LogRecord) -> str:
        """Format a record as one line."""
        line: dict[str, Any] = {
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage()[:LONGEST_MESSAGE],
        }
        if here := trail.current.get():
            line |= here.describe()
        line |= self._fixed
        line |= getattr(record, "fields", {})
        if record.exc_info:
            # The end says what went wrong.
            line["exception"] = self.formatException(record.exc_info)[-LONGEST_EXCEPTION:]
        prefix = f"<{_PRIORITIES.get(record.levelno, 6)}>" if self._for_journal else ""
        return prefix + _dump(line)


def install(instance: str, release: str) -> None:
    """Have everything that is logged in this process written to standard error as JSON; a later call replaces."""
    root = logging.getLogger()
    for handler in root.handlers[:]:
        if isinstance(handler.formatter, JsonFormatter):
            root.removeHandler(handler)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter(instance, release, for_journal="JOURNAL_STREAM" in os.environ))
    root.addHandler(handler)
    root.setLevel(logging.INFO)


def fields(**values: Any) -> dict[str, Any]:
    """What a log call takes as ``extra`` to have these fields in its line."""
    return {"fields": values}


def _dump(line: dict[str, Any]) -> str:
    try:
        return orjson.dumps(line, default=str).decode()
    except (TypeError, ValueError):
        # Half a surrogate, which is no text: from bytes of a path that were none.
        return json.dumps(line, default=str)
