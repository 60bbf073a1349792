"""What listeners heard, held against what was written: each event once and in order, or the listener was told.

docs/realtime.md says what a client may rely on. An event has a number of its own (`event`), by which a fact that was
told twice is known, and an offset, its place in the one order of all events.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from tests.chaos.history import WRITES, Kind, Operation, Outcome

CREATED, UPDATED, DELETED = "task.created", "task.updated", "task.deleted"
# A page reads again when it is told to. What was committed before that it then shows, so the word must come after the
# write, and not so late that nobody would take it for the reason.
SLACK_SECONDS, LATE_SECONDS = 2.0, 120.0

Place = tuple[int, float]
# What an event says of a write: the kind, the title or the task, the version.
Told = tuple[str, str | int | None, int]
NOWHERE: Place = (-1, 0.0)


class Fact(NamedTuple):
    """One event as a listener heard it; `place` is where it stands in the order of all."""

    at: float
    what: str
    event: int
    task: int
    version: int
    title: str
    place: Place


@dataclass
class Listener:
    """All that one listener heard, in the order in which it came."""

    facts: list[Fact] = field(default_factory=list)
    # When it was told to read again, and how many events it had heard by then.
    told: list[tuple[float, int]] = field(default_factory=list)
    connects: int = 0


class Wrong(NamedTuple):
    """Something that must not be: at what time, and what shows it."""

    at: float
    what: str
    detail: str


@dataclass
class Hearing:
    """What came of it."""

    sent: list[Fact]
    heard: int
    told_twice: int
    wrong: list[Wrong]
    told: list[float]

    def figures(self, begin: float, end: float) -> dict[str, int]:
        """What belongs to a time, counted."""
        counts = Counter(wrong.what for wrong in self.wrong if begin <= wrong.at < end)
        return {
            "sent": sum(begin <= fact.at < end for fact in self.sent),
            **{what: counts[what] for what in ("lost", "repeated", "reordered")},
            "resyncs": sum(begin <= at < end for at in self.told),
        }


def parse(lines: Iterable[list[Any]]) -> list[Listener]:
    """Listeners from the lines that listeners.mjs writes."""
    found: defaultdict[int, Listener] = defaultdict(Listener)
    epochs: dict[str, int] = {}
    for number, at, what, *more in lines:
        listener = found[number]
        if what == "connect":
            if listener.connects and not more[0]:
                listener.told.append((at, len(listener.facts)))
            listener.connects += 1
        elif what == "missed":
            listener.told.append((at, len(listener.facts)))
        elif what in (CREATED, UPDATED, DELETED):
            place = NOWHERE
            if more[4]:
                epoch, _, at_place = more[4].rpartition("-")
                # The one that is heard first is the older one: all are told of a new one by the same Redis.
                place = epochs.setdefault(epoch, len(epochs)), float(at_place)
            listener.facts.append(Fact(at, what, *more[:4], place))
    _place(found.values())
    return [found[number] for number in sorted(found)]


def _place(listeners: Iterable[Listener]) -> None:
    """Say where facts stand that came without an offset, as to who signed in while Redis was away: where others say."""
    known = {fact.event: fact.place for one in listeners for fact in one.facts if fact.place != NOWHERE}
    for listener in listeners:
        last: Place = NOWHERE
        for number, fact in enumerate(listener.facts):
            if fact.place == NOWHERE:
                # Of one that nobody can place it is only known what came before.
                place = known.get(fact.event, (last[0], last[1] + 1e-6))
                listener.facts[number] = fact._replace(place=place)
            last = listener.facts[number].place


def check(operations: Sequence[Operation], listeners: Sequence[Listener], run: str) -> Hearing:
    """Hold what was heard against what was acknowledged, and the listeners against each other."""
    sent: dict[int, Fact] = {}
    # Whoever else works on the site is none of this run's business; a task is known by the title of its creation.
    own = {fact.task for listener in listeners for fact in listener.facts if fact.title.startswith(f"{run}.")}
    for listener in listeners:
        for fact in listener.facts:
            known = sent.get(fact.event, fact)
            if fact.task in own and (fact.place, fact.at) <= (known.place, known.at):
                sent[fact.event] = fact
    sent = _told_by(sent)
    wrong: list[Wrong] = []
    twice = 0
    for number, listener in enumerate(listeners):
        twice += _order(number, listener, wrong)
        _gaps(number, listener, sent, wrong)
    for candidates, count in _unheard(operations, sent.values()):
        last = candidates[-1]
        for number, listener in enumerate(listeners):
            if sum(_told_in_time(listener, operation) for operation in candidates) < count:
                detail = f"listener {number}: {count} of {last.kind} {last.id}, acknowledged, heard by nobody"
                wrong.append(Wrong(last.begin, "lost", detail))
    heard = sum(len(listener.facts) for listener in listeners)
    told = [at for listener in listeners for at, _ in listener.told]
    return Hearing(sorted(sent.values()), heard, twice, wrong, told)


def _told_by(sent: dict[int, Fact]) -> dict[int, Fact]:
    """The same with the time at which each had been told for sure: when anybody heard of it, or of anything after it.

    Of an event that only those heard who came back from a frozen host, nobody heard in time.
    """
    found = {}
    at = float("inf")
    for fact in sorted(sent.values(), key=lambda fact: fact.place, reverse=True):
        at = min(at, fact.at)
        found[fact.event] = fact._replace(at=at)
    return dict(sorted(found.items()))


def _order(number: int, listener: Listener, wrong: list[Wrong]) -> int:
    """Repeats and what came out of order; returns how many facts were told twice, which is allowed."""
    places: set[Place] = set()
    events: set[int] = set()
    latest: dict[int, int] = {}
    highest: Place = (-1, -1)
    twice = 0
    for fact in listener.facts:
        if fact.place in places:
            wrong.append(Wrong(fact.at, "repeated", f"listener {number} heard {fact} again"))
            continue
        if fact.place < highest:
            wrong.append(Wrong(fact.at, "reordered", f"listener {number} heard {fact} after {highest}"))
        elif fact.event in events:
            twice += 1
        elif fact.event < latest.get(fact.task, 0):
            detail = f"listener {number} heard of task {fact.task} {fact.event} after {latest[fact.task]}"
            wrong.append(Wrong(fact.at, "reordered", detail))
        highest = max(highest, fact.place)
        latest[fact.task] = max(latest.get(fact.task, 0), fact.event)
        places.add(fact.place)
        events.add(fact.event)
    return twice


def _gaps(number: int, listener: Listener, sent: dict[int, Fact], wrong: list[Wrong]) -> None:
    """What others heard and this one did not, without a word between the events before and after it."""
    heard = {fact.event for fact in listener.facts}
    # In order but for what _order has found.
    places = [fact.place for fact in listener.facts]
    for event, fact in sent.items():
        if event in heard:
            continue
        after = bisect_left(places, fact.place)
        if not any(count == after and at >= fact.at - SLACK_SECONDS for at, count in listener.told):
            detail = f"listener {number} never heard {fact}, and was not told that it missed something"
            wrong.append(Wrong(fact.at, "lost", detail))


def _unheard(operations: Sequence[Operation], sent: Collection[Fact]) -> Iterator[tuple[Sequence[Operation], int]]:
    """Acknowledged writes of which nobody heard: how many, of which.

    Comments look like edits, so of the comments on a task it is only known how many nobody heard of; and an edit may be
    among them, when what tells of its version may be of a comment after it.
    """
    told: dict[Told, float] = {}
    # The latest first, so that the first of its kind remains.
    for fact in sorted(sent, key=lambda fact: fact.at, reverse=True):
        told[fact.what, fact.title if fact.what == CREATED else fact.task, fact.version] = fact.at
    updates = Counter(fact.task for fact in sent if fact.what == UPDATED)
    done: defaultdict[tuple[Kind, int], list[Operation]] = defaultdict(list)
    for operation in operations:
        if operation.outcome is not Outcome.OK or operation.kind not in WRITES or operation.task is None:
            continue
        if operation.kind is Kind.COMMENT or _as_told(operation) in told:
            done[operation.kind, operation.task].append(operation)
        else:
            yield [operation], 1
    for task in [task for kind, task in done if kind is Kind.COMMENT]:
        comments, edits = done[Kind.COMMENT, task], done[Kind.EDIT, task]
        if (count := len(comments) + len(edits) - updates[task]) > 0:
            yield comments + [one for one in edits if _may_be_of_a_comment(told[_as_told(one)], one, comments)], count


def _may_be_of_a_comment(told_at: float, edit: Operation, comments: Iterable[Operation]) -> bool:
    """Whether what was told first of an edit's version can be of a comment after it."""
    return any(edit.begin <= comment.begin <= told_at for comment in comments)


def _as_told(operation: Operation) -> Told:
    """What an event of this write says. A delete tells of the version that it took away."""
    version = operation.version or 0
    if operation.kind is Kind.CREATE:
        return CREATED, operation.id, 1
    return (
        (DELETED, operation.task, version) if operation.kind is Kind.DELETE else (UPDATED, operation.task, version + 1)
    )


def _told_in_time(listener: Listener, operation: Operation) -> bool:
    begin, end = operation.begin - SLACK_SECONDS, operation.end + LATE_SECONDS
    return any(begin <= at <= end for at, _ in listener.told)
