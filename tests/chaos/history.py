"""What the clients did and what they were told: one operation a line, as JSON.

An operation has an id that travels in the data itself (the title of a task, the text of a comment), so that what is in
the database at the end can be held against what each client was told.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import orjson

_WALL, _STEADY = time.time(), time.monotonic()
# Nobody waits for the disk during a run; after a crash of the generator the run is worth nothing anyway.
BUFFER = 1 << 18


def now() -> float:
    """The time of day, from a clock that never steps back: what is compared with it must stay in order."""
    return _WALL + time.monotonic() - _STEADY


class Kind(StrEnum):
    """What a client asked for."""

    CREATE = "create"
    EDIT = "edit"
    DELETE = "delete"
    COMMENT = "comment"
    LIST = "list"
    GET = "get"
    ACTIVITY = "activity"
    REFRESH = "refresh"


WRITES = frozenset({Kind.CREATE, Kind.EDIT, Kind.DELETE, Kind.COMMENT})


class Outcome(StrEnum):
    """What the client knows in the end."""

    OK = "ok"
    REFUSED = "refused"
    UNKNOWN = "unknown"


class State(NamedTuple):
    """A task as an answer showed it."""

    task: int
    version: int
    title: str
    status: str


class Entry(NamedTuple):
    """A line of a task's history as an answer showed it; ``token`` is the operation that it tells of."""

    line: int
    verb: str
    token: str


class Attempt(NamedTuple):
    """One request: a client with a key repeats an operation that got no answer. ``status`` is 0 without an answer."""

    begin: float
    end: float
    status: int
    replayed: bool = False
    error: str = ""


@dataclass(slots=True)
class Operation:
    """One thing that a client did."""

    id: str
    client: int
    kind: Kind
    begin: float
    end: float = 0.0
    outcome: Outcome = Outcome.UNKNOWN
    status: int = 0
    task: int | None = None
    # The version that a change was based on.
    version: int | None = None
    keyed: bool = False
    # Reads, and the answers of writes: what the client was shown.
    states: list[State] = field(default_factory=list)
    entries: list[Entry] = field(default_factory=list)
    # Whether a list or a history was shown to its end; and whose tasks a filtered list was to show.
    whole: bool = False
    filtered: bool = False
    attempts: list[Attempt] = field(default_factory=list)


class Writer:
    """Appends operations to a history."""

    def __init__(self, path: Path, seed: int) -> None:
        self._file: BinaryIO = path.open("wb", buffering=BUFFER)
        self._file.write(orjson.dumps({"seed": seed}) + b"\n")

    def add(self, operation: Operation) -> None:
        """Write down a finished operation."""
        self._file.write(orjson.dumps(operation, default=list) + b"\n")

    def close(self) -> None:
        self._file.close()


def read(path: Path) -> Iterator[Operation]:
    """The operations of a history, in the order in which they ended."""
    with path.open("rb") as lines:
        next(lines)
        for line in lines:
            yield parse(orjson.loads(line))


def parse(values: dict[str, Any]) -> Operation:
    """An operation from its JSON."""
    return Operation(
        **values
        | {
            "kind": Kind(values["kind"]),
            "outcome": Outcome(values["outcome"]),
            "states": [State(*state) for state in values["states"]],
            "entries": [Entry(*entry) for entry in values["entries"]],
            "attempts": [Attempt(*attempt) for attempt in values["attempts"]],
        }
    )


def attempts(operations: Iterable[Operation]) -> Iterator[tuple[Operation, Attempt]]:
    """Every request of a history."""
    return ((operation, attempt) for operation in operations for attempt in operation.attempts)
