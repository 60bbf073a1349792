"""What is in the database at the end: the tasks of a run and every line of their history."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import orjson

from tests.chaos.clients import token_of
from tests.chaos.history import State

# The verbs that make a new version of a task.
VERSIONED = frozenset({"created", "changed", "closed", "reopened", "assigned"})
# Lines belong to the run by their task, also when the task itself is gone.
STATEMENTS = (
    """SELECT row_to_json(r) FROM (SELECT id, version, title, status FROM task
        WHERE title LIKE '{run}.%') r""",
    """SELECT row_to_json(r) FROM (SELECT id, subject_id AS task, verb, data FROM activity
        WHERE subject_type = 'task' AND subject_id IN (SELECT subject_id FROM activity
            WHERE verb = 'created' AND data->>'title' LIKE '{run}.%') ORDER BY id) r""",
)


class Line(NamedTuple):
    """One line of the history of a task."""

    id: int
    task: int
    verb: str
    data: dict[str, Any]

    @property
    def token(self) -> str:
        """The operation that it tells of."""
        return token_of(self.data)


@dataclass
class Truth:
    """The end of a run, as the database has it."""

    tasks: dict[int, State]
    lines: list[Line]
    chains: dict[int, list[Line]] = field(init=False)
    # Every state that a task ever had, by its history; version N is at N - 1.
    states: dict[int, list[State]] = field(init=False)
    by_token: dict[str, list[Line]] = field(init=False)

    def __post_init__(self) -> None:
        chains: defaultdict[int, list[Line]] = defaultdict(list)
        by_token: defaultdict[str, list[Line]] = defaultdict(list)
        for line in sorted(self.lines):
            if line.verb in VERSIONED:
                chains[line.task].append(line)
            if line.token and line.verb != "deleted":
                by_token[line.token].append(line)
        self.chains, self.by_token = dict(chains), dict(by_token)
        self.states = {task: _states(task, chain) for task, chain in chains.items()}


def _states(task: int, chain: list[Line]) -> list[State]:
    found: list[State] = []
    status = "open"
    for number, line in enumerate(chain, 1):
        status = line.data.get("status", [status, status])[1]
        found.append(State(task, number, line.token, status))
    return found


def from_rows(tasks: Iterable[str], lines: Iterable[str]) -> Truth:
    """The truth from what psql prints: one JSON object a line."""
    rows = (orjson.loads(row) for row in tasks)
    return Truth(
        {row["id"]: State(row["id"], row["version"], row["title"], row["status"]) for row in rows},
        [Line(row["id"], row["task"], row["verb"], row["data"]) for row in map(orjson.loads, lines)],
    )
