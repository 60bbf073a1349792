"""What ends a run, and the exit code that scripts see."""

from typing import Any

OK = 0
NOT_READY = 1
USAGE = 2
LOCKED = 3
FAILED = 4
RETURNED = 5
# As a shell has it for a process that ended by Ctrl-C.
INTERRUPTED = 130


class FleetError(Exception):
    """A run cannot go on; the message says what happened, what it means and what to do.

    `details` are for scripts: what of it a program may want to know one by one.
    """

    code = FAILED

    def __init__(self, message: str, **details: Any) -> None:
        super().__init__(message)
        self.details = details


class UsageError(FleetError):
    """The request itself is wrong (no such release, not root)."""

    code = USAGE


class NotReadyError(FleetError):
    """Instances did not become ready in time."""

    code = NOT_READY


class LockedError(FleetError):
    """Another run or another deploy is at work."""

    code = LOCKED


class StateError(FleetError):
    """The state file cannot be read or written."""


class NeedsAPersonError(FleetError):
    """A roll failed, and not everything could be taken back."""


class ReturnedError(FleetError):
    """A roll failed, and everything is back on what it ran before."""

    code = RETURNED
