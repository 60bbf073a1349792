"""What a migration may do while the release before it runs: add, never take away, and never hold anybody up.

During a roll old and new instances work on one schema, and after a failed roll the old ones go on with it. So a
migration only adds what old code does not notice (it *expands*). What old code used is taken away by a later release,
in a migration that says so: ``contract = True`` and ``needs = "0007"``, the oldest revision whose code does without it.
Such a migration is applied only when everything that runs knows that revision. Long locks and rewrites of a table are
never right, so no declaration allows them.

Every revision is judged by itself: a table that it makes itself is nobody's yet, any other one is in use.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from hecto.migrations import actions
from hecto.migrations.actions import LATER, Rule, bare
from hecto.migrations.sql import Statement, parts


@dataclass(frozen=True)
class Revision:
    """A migration: its statements and what its module declares."""

    id: str
    statements: Sequence[Statement]
    contract: bool = False
    needs: str | None = None


@dataclass(frozen=True)
class Fault:
    """Why a migration is refused."""

    revision: str
    problem: str
    instead: str
    statement: str = ""

    def __str__(self) -> str:
        found = f"\n      {self.statement}" if self.statement else ""
        return f"revision {self.revision}: {self.problem}{found}\n      Instead: {self.instead}"


# What is judged by its first words. The first rule that matches decides; a table in "on" excuses what it makes itself.
STATEMENTS = (
    Rule(
        r"drop index (?!concurrently)",
        "it waits for everybody who uses the table, and everybody behind it waits, too",
        "DROP INDEX CONCURRENTLY IF EXISTS, in a revision of its own, inside of op.get_context().autocommit_block().",
    ),
    Rule(
        r"drop (?!index)|truncate|revoke|alter (?!table|index|type|sequence|default)\w+ (\w+ )?\S+ (rename|set schema)",
        "it takes away what the release that runs may use",
        LATER,
        contract=True,
    ),
    Rule(
        r"alter (type|sequence) \S+ (?!add value|owner|restart|increment|cache)",
        "it changes what the release that runs may use",
        "make a new one beside it, and drop the old one in a later migration with contract = True.",
        contract=True,
    ),
    Rule(
        r"(vacuum|cluster|reindex|refresh materialized view)\b(?!.*\bconcurrently)",
        "it locks the whole table for as long as it reads or writes it",
        "the form with CONCURRENTLY, in a revision of its own, inside of op.get_context().autocommit_block().",
    ),
    Rule(
        r"lock\b",
        "it stops the work of every instance for as long as the migration takes",
        "do without: each statement takes the locks that it needs.",
    ),
    Rule(
        r"(re)?set (session |local )?(lock_timeout|statement_timeout|transaction_timeout|all)\b",
        "it lifts the bound that keeps a waiting migration from holding up everybody behind it",
        "leave it out: hecto setup sets a lock_timeout and tries again a few times.",
    ),
    Rule(
        r"(update (only )?(?P<on>\S+)|delete from (only )?(?P<on2>\S+))(?!.*\bwhere\b)",
        "it locks every row of the table until the migration has ended",
        "let the new release fill in the values when it writes, or do it in small steps from a job.",
    ),
    Rule(
        r"create (unique )?index (?!concurrently)(if not exists )?(\S+ )??on (only )?(?P<on>[^\s(]+)",
        "nobody can write to the table while the index is built",
        "a revision of its own that holds DROP INDEX CONCURRENTLY IF EXISTS name and CREATE INDEX CONCURRENTLY name, "
        "inside of op.get_context().autocommit_block().",
    ),
)
# What adds and is quick. Anything else is refused until somebody has thought about it.
KNOWN = re.compile(
    r"alter (table|index|default|sequence|type)\b|comment on\b|create (table|extension|sequence|type|domain|schema)\b"
    r"|create (or replace )?(function|procedure|view)\b|create (or replace )?(constraint )?trigger\b"
    r"|create materialized view\b|create (unique )?index\b|drop index concurrently\b|grant\b|insert into\b"
    r"|(update|delete from)\b|select (setval|create_\w+)\b"
)
CREATES = re.compile(r"create (?:unlogged )?table (?:if not exists )?([^\s(]+)")
ALTERS = re.compile(r"alter table (?:if exists )?(?:only )?(\S+) (.*)")
MAKES_INDEX = re.compile(r"create (?:unique )?index concurrently (?:if not exists )?(?!on )(\S+)")
# Alembic's own bookkeeping.
OWN = "alembic_version"


@dataclass
class _Look:
    """What is known while revisions are read in their order."""

    # Checks that a column is not null, by table and name of the constraint, and those that were proven for all rows.
    claimed: dict[tuple[str, str], str] = field(default_factory=dict)
    proven: set[tuple[str, str]] = field(default_factory=set)
    # Of the present revision.
    new: set[str] = field(default_factory=set)
    added: set[tuple[str, str]] = field(default_factory=set)


def check(revisions: Iterable[Revision]) -> list[Fault]:
    """Everything that is wrong with migrations, given in their order from the first one on."""
    look = _Look()
    faults: list[Fault] = []
    known: list[str] = []
    for revision in revisions:
        faults += _declaration(revision, known)
        known.append(revision.id)
        look.new, look.added = set(), set()
        statements = [statement for statement in revision.statements if OWN not in statement.shape]
        for statement in statements:
            faults += [
                Fault(revision.id, rule.problem, rule.instead, statement.short)
                for rule in _judge(statement.shape, look)
                if not (rule.contract and revision.contract)
            ]
        faults += _concurrent(revision.id, statements)
    return faults


def floor(revisions: Iterable[Revision], current: str | None) -> str | None:
    """The oldest revision whose code works with a schema at ``current``."""
    return max((one.needs for one in revisions if one.needs and current and one.id <= current), default=None)


def _declaration(revision: Revision, before: Sequence[str]) -> Iterator[Fault]:
    if revision.contract and revision.needs not in before:
        yield Fault(
            revision.id,
            f"it declares contract = True, and needs is {revision.needs!r}: nobody knows which releases work after it",
            f"needs = REVISION, the oldest one whose code does without what is taken away; one of {', '.join(before)}.",
        )
    if revision.needs and not revision.contract:
        yield Fault(
            revision.id,
            f"it declares needs = {revision.needs!r} and nothing that would be taken away",
            "contract = True beside it, or leave needs out.",
        )


def _judge(shape: str, look: _Look) -> Iterator[Rule]:
    """The rules that a statement breaks."""
    if found := CREATES.match(shape):
        look.new.add(bare(found[1]))
        return
    if rule := next((rule for rule in STATEMENTS if rule.breaks(shape, look.new)), None):
        yield rule
    elif found := ALTERS.match(shape):
        if bare(found[1]) not in look.new:
            for action in parts(found[2]):
                yield from _judge_action(bare(found[1]), action, look)
    elif not KNOWN.match(shape):
        yield actions.UNKNOWN


def _judge_action(table: str, action: str, look: _Look) -> Iterator[Rule]:
    """The rules that one action of ALTER TABLE breaks, on a table that is in use."""
    if found := actions.ADDS_CONSTRAINT.match(action):
        look.added.add((table, found["name"]))
    if found := actions.CLAIMS.match(action):
        look.claimed[table, found["name"]] = bare(found["column"])
    elif found := actions.VALIDATES.match(action):
        yield from _validate(table, found["name"], look)
    elif found := actions.SETS_NOT_NULL.match(action):
        if (table, bare(found["column"])) not in look.proven:
            yield actions.NOT_NULL_UNPROVEN
    elif rule := next((rule for rule in actions.ACTIONS if rule.breaks(action)), None):
        yield rule
    elif not actions.KNOWN.match(action):
        yield actions.UNKNOWN


def _validate(table: str, name: str, look: _Look) -> Iterator[Rule]:
    if (table, name) in look.added:
        yield actions.VALIDATED_AT_ONCE
    elif column := look.claimed.get((table, name)):
        look.proven.add((table, column))


def _concurrent(revision: str, statements: Sequence[Statement]) -> Iterator[Fault]:
    """CONCURRENTLY works outside of a transaction only, and what it leaves when it is cut short must go first."""
    concurrent = [one for one in statements if re.search(r"\bconcurrently\b", one.shape)]
    if not concurrent:
        return
    alone = "a revision of its own that holds only the index, inside of op.get_context().autocommit_block()."
    dropped: set[str] = set()
    for one in concurrent:
        if one.atomic:
            yield Fault(revision, "CONCURRENTLY does not work inside of a transaction", alone, one.short)
        if found := re.match(r"drop index concurrently if exists (\S+)", one.shape):
            dropped.add(bare(found[1]))
        elif (found := MAKES_INDEX.match(one.shape)) and bare(found[1]) not in dropped:
            yield Fault(
                revision,
                "an attempt that is cut short leaves an invalid index, and the next one fails because of it",
                f"op.execute('DROP INDEX CONCURRENTLY IF EXISTS {found[1]}') before it.",
                one.short,
            )
    if len(concurrent) < len(statements):
        other = next(one for one in statements if one not in concurrent)
        yield Fault(
            revision,
            "with CONCURRENTLY in the same revision it would stay when the index fails, and be done twice",
            alone,
            other.short,
        )
