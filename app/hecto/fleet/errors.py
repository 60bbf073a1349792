"""What ends a run, and the exit code that scripts see."""

OK = 0
NOT_READY = 1
USAGE = 2
LOCKED = 3
FAILED = 4
RETURNED = 5


class FleetError(Exception):
    """A run cannot go on; the message says what happened, what it means and what to do."""

    code = FAILED


class UsageError(FleetError):
    """The request itself is wrong (no such release, not root)."""

    code = USAGE


class NotReadyError(FleetError):
    """Instances did not become ready in time."""

    code = NOT_READY


class NeedsAPersonError(FleetError):
    """A roll failed and could not take everything back."""


class ReturnedError(FleetError):
    """A roll failed, and everything is back on what it ran before."""

    code = RETURNED


class LockedError(FleetError):
    """Another run is at work."""

    code = LOCKED
