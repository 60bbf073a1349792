"""The rules for ALTER TABLE on a table that is in use, one action at a time."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass


@dataclass(frozen=True)
class Rule:
    """A kind of statement that would hurt the release that runs."""

    pattern: str
    problem: str
    instead: str
    # Whether a migration that declares contract = True may do it.
    contract: bool = False

    def breaks(self, shape: str, new: Collection[str] = ()) -> bool:
        """Whether the statement is of this kind, and not about a table that its own revision makes."""
        found = re.match(self.pattern, shape)
        if not found:
            return False
        tables = {bare(value) for name, value in found.groupdict().items() if name.startswith("on") and value}
        return not tables & set(new)


def bare(name: str) -> str:
    """A name without the schema in which everything of ours is."""
    return name.removeprefix("public.")


CLAIMS = re.compile(r"add constraint (?P<name>\S+) check\((?P<column>\S+) is not null\) not valid$")
ADDS_CONSTRAINT = re.compile(r"add constraint (?P<name>\S+)")
VALIDATES = re.compile(r"validate constraint (?P<name>\S+)")
SETS_NOT_NULL = re.compile(r"alter (column )?(?P<column>\S+) set not null$")

UNKNOWN = Rule(
    "",
    "these rules do not know what this does to a release that runs",
    "another way to say it; or add it to hecto/migrations/rules.py or actions.py, with a test, if it is harmless.",
)
VALIDATED_AT_ONCE = Rule(
    "",
    "in one transaction with the ADD CONSTRAINT it reads the whole table while nobody can write to it",
    "VALIDATE CONSTRAINT in the next revision.",
)
NOT_NULL_UNPROVEN = Rule(
    "",
    "it reads the whole table while nobody can use it, and fails when one row has no value",
    "ADD CONSTRAINT name CHECK (column IS NOT NULL) NOT VALID, VALIDATE CONSTRAINT in the next revision, SET NOT NULL "
    "in a later one: PostgreSQL then takes the check as proof.",
)

LATER = (
    "leave it until no release uses it, then take it away in a migration with contract = True and needs = REVISION, "
    "the oldest revision whose code does without it."
)

# A default that is the same for every row is only noted down; any other one is computed and written for each row.
_CONSTANT = r"(''|[-+]?\d[\d.]*|true|false|null|now\(\)|current_(timestamp|date))(::[\w .\[\]]+(\(\d+\))?)?"
_COLUMN = r"add (column )?(if not exists )?(?!constraint\b|check\b|unique\b|primary\b|foreign\b|exclude\b)\S+ "

ACTIONS = (
    Rule(
        r"rename\b",
        "the release that runs still uses the old name",
        "add the new column or table beside it, let code write both, and drop the old one later with contract = True.",
        contract=True,
    ),
    Rule(
        r"drop (?!constraint\b)",
        "the release that runs may still use the column",
        LATER,
        contract=True,
    ),
    Rule(
        r"drop constraint (if exists )?(?!ck_|fk_)",
        "the release that runs may rely on it, for ON CONFLICT for example",
        LATER,
        contract=True,
    ),
    Rule(
        r"alter (column )?\S+ (set data )?type\b",
        "it writes the whole table anew while nobody can use it, and the release that runs expects the old type",
        "add a column of the new type, let code write both, fill it in small steps, drop the old one in a migration "
        "with contract = True.",
    ),
    Rule(
        r"alter (column )?\S+ (drop (default|identity|expression)|add generated|set generated)",
        "the release that runs may leave the column out and rely on its value",
        LATER,
        contract=True,
    ),
    Rule(
        _COLUMN + r".*\b(references\b|check\(|unique\b|primary key\b)",
        "it proves the constraint for the whole table while nobody can write to it",
        "add the column alone, then ADD CONSTRAINT ... NOT VALID, and VALIDATE CONSTRAINT in the next revision.",
    ),
    Rule(
        _COLUMN
        + r"(.*\b(generated\b|default (?!"
        + _CONSTANT
        + r"( (not )?null| collate \S+)?$))|(big|small)?serial\b)",
        "the value differs from row to row, so the whole table is written anew while nobody can use it",
        "add the column without a default, let code give the value, and fill in old rows in small steps.",
    ),
    Rule(
        _COLUMN + r"(?!.*\bdefault\b).*\bnot null\b",
        "rows that are there have no value, and the release that runs would fail to write without it",
        "add it with a constant DEFAULT, or without NOT NULL.",
    ),
    Rule(
        r"add (constraint \S+ )?(check\(|foreign key\b)(?!.* not valid$)",
        "it reads the whole table while nobody can write to it",
        "end it with NOT VALID, and VALIDATE CONSTRAINT in the next revision.",
    ),
    Rule(
        r"add (constraint \S+ )?(unique|primary key)\b(?! using index)",
        "it builds an index while nobody can use the table",
        "CREATE UNIQUE INDEX CONCURRENTLY in a revision of its own, then ADD CONSTRAINT ... USING INDEX in the next.",
    ),
    Rule(
        r"add (constraint \S+ )?exclude\b",
        "it builds an index while nobody can use the table, and there is no quick way",
        "a new table that has the constraint from the start.",
    ),
    Rule(
        r"set (logged|unlogged|tablespace|access method|without)\b|cluster on|(no )?inherit\b|(at|de)tach partition",
        "it writes or reads the whole table while nobody can use it",
        "do it on a copy of the table, in several releases.",
    ),
    Rule(
        r"set schema|disable\b|(no )?force row|enable row",
        "the release that runs relies on what is there now",
        LATER,
        contract=True,
    ),
)
KNOWN = re.compile(
    r"add\b|alter (column )?\S+ (set (default|statistics|storage|compression)|drop not null)|drop\b|validate constraint"
    r"|enable (always |replica )?trigger|set \(|reset \(|owner to|replica identity|alter constraint"
)
