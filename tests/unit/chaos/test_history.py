"""What is written down comes back as it was."""

from __future__ import annotations

from pathlib import Path

from tests.chaos import history
from tests.chaos.history import Attempt, Entry, Kind, Operation, Outcome, State
from tests.chaos.truth import from_rows


def test_an_operation_comes_back(tmp_path: Path) -> None:
    written = Operation(
        "run.1.2", 1, Kind.EDIT, 1.5, 2.5, Outcome.OK, 200, task=7, version=3, keyed=True,
        states=[State(7, 4, "run.1.2", "done")], entries=[Entry(5, "changed", "run.1.2")],
        attempts=[Attempt(1.5, 2.0, 0, error="closed"), Attempt(2.1, 2.5, 200, replayed=True)],
    )  # fmt: skip
    writer = history.Writer(tmp_path / "history", seed=3)
    writer.add(written)
    writer.close()
    assert list(history.read(tmp_path / "history")) == [written]
    assert [attempt.status for _, attempt in history.attempts([written])] == [0, 200]


def test_the_clock_never_steps_back() -> None:
    times = [history.now() for _ in range(1000)]
    assert times == sorted(times)


def test_every_version_is_known_from_the_lines() -> None:
    truth = from_rows(
        ['{"id": 1, "version": 3, "title": "run.c", "status": "done"}'],
        [
            '{"id": 4, "task": 1, "verb": "closed",'
            ' "data": {"title": ["run.b", "run.c"], "status": ["doing", "done"]}}',
            '{"id": 1, "task": 1, "verb": "created", "data": {"title": "run.a"}}',
            '{"id": 2, "task": 1, "verb": "changed",'
            ' "data": {"title": ["run.a", "run.b"], "status": ["open", "doing"]}}',
            '{"id": 3, "task": 1, "verb": "commented", "data": {"text": "run.w"}}',
            '{"id": 5, "task": 1, "verb": "deleted", "data": {"title": "run.c"}}',
        ],
    )
    assert truth.states[1] == [
        State(1, 1, "run.a", "open"),
        State(1, 2, "run.b", "doing"),
        State(1, 3, "run.c", "done"),
    ]
    assert {token: len(lines) for token, lines in truth.by_token.items()} == dict.fromkeys(
        ("run.a", "run.b", "run.w", "run.c"), 1
    )
