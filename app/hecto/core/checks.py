"""What must hold of the data at any time, as SQL that the database itself keeps.

Each module says it in its `checks.py`. `hecto-admin setup` writes all of it into the database as the function
check_data(). So a copy that was restored anywhere can be asked, with psql alone, by the rules of its own release:

    SELECT name, faults, example FROM check_data()
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, MetaData, text

FUNCTION = "check_data"


@dataclass(frozen=True, slots=True)
class Check:
    """Something that must hold. `faults` is a SELECT of one text column: a row for each place where it does not."""

    name: str
    faults: str


@dataclass(frozen=True, slots=True)
class Found:
    """How a check went."""

    name: str
    faults: int
    example: str


# An older PostgreSQL does not know the second one.
_NO_LIMIT = text(
    "SELECT set_config(name, '0', true) FROM pg_settings WHERE name IN ('statement_timeout', 'transaction_timeout')"
)

# Shapes that PostgreSQL itself keeps, unless pages or indexes are damaged.
STRUCTURE = (
    Check(
        "constraints that are not valid",
        "SELECT conname::text FROM pg_constraint WHERE connamespace = 'public'::regnamespace AND NOT convalidated",
    ),
    Check(
        "indexes that are not valid",
        "SELECT indexrelid::regclass::text FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid"
        " WHERE relnamespace = 'public'::regnamespace AND NOT (indisvalid AND indisready)",
    ),
)


def schema_is_known(head: str) -> Check:
    """The schema is the one that this release knows, or a newer one; the function is replaced by a newer release."""
    return Check(
        "schema that nobody knows",
        "SELECT 'alembic_version has ' || count(*) || ' rows, ' || coalesce(min(version_num), 'none')"  # noqa: S608
        f" FROM alembic_version HAVING count(*) <> 1 OR min(version_num) < '{head}'",
    )


def references(metadata: MetaData) -> list[Check]:
    """No row points to one that is not there, for every foreign key of every table."""
    found = []
    for table in metadata.sorted_tables:
        for key in sorted(table.foreign_keys, key=lambda key: key.parent.name):
            here, there = key.parent.name, key.column.name
            found.append(
                Check(
                    f"{table.name}.{here} that points to nothing",
                    f"SELECT here.{here}::text FROM {table.name} AS here"  # noqa: S608
                    f" WHERE here.{here} IS NOT NULL AND NOT EXISTS"
                    f" (SELECT FROM {key.column.table.name} AS there WHERE there.{there} = here.{here})",
                )
            )
    return found


def numbers(metadata: MetaData) -> list[Check]:
    """No table has a number that is still to be given out; who may not look at the counter is told nothing."""
    return [
        Check(
            f"{table.name}.id beyond its counter",
            f"SELECT max(id)::text FROM {table.name} HAVING max(id) > (SELECT last_value FROM pg_sequences"  # noqa: S608
            f" WHERE schemaname = 'public' AND sequencename = '{table.name}_id_seq')",
        )
        for table in metadata.sorted_tables
        if "id" in table.columns and table.columns["id"].identity is not None
    ]


def definition(checks: Sequence[Check]) -> str:
    """The body of the function."""
    parts = [
        f"SELECT '{check.name}'::text, count(*), coalesce(min(fault), '')\n  FROM ({check.faults}) AS found (fault)"  # noqa: S608
        for check in checks
    ]
    return "\nUNION ALL\n".join(parts) + "\n"


def install(connection: Connection, checks: Sequence[Check]) -> bool:
    """Write the function into the database, where it is not there or says something else; says whether it did."""
    if not differs(connection, checks):
        return False
    statement = (
        f"CREATE OR REPLACE FUNCTION {FUNCTION}() RETURNS TABLE (name text, faults bigint, example text)"
        f" LANGUAGE sql STABLE SET search_path = public, pg_temp AS $check$\n{definition(checks)}$check$"
    )
    connection.exec_driver_sql(statement.replace("%", "%%"))  # the driver looks for parameters
    return True


def differs(connection: Connection, checks: Sequence[Check]) -> bool:
    """Whether the function in the database is not that of these checks."""
    statement = text("SELECT prosrc FROM pg_proc WHERE oid = to_regprocedure(:name)")
    return bool(connection.scalar(statement, {"name": f"public.{FUNCTION}()"}) != f"\n{definition(checks)}")


def run(connection: Any) -> list[Found]:
    """Ask the database for what does not hold; it may take as long as it takes."""
    connection.execute(_NO_LIMIT)
    rows = connection.execute(text(f"SELECT name, faults, example FROM {FUNCTION}()"))  # noqa: S608
    return [Found(row.name, row.faults, row.example) for row in rows]


def all_of(metadata: MetaData, head: str, modules: Iterable[Sequence[Check]]) -> list[Check]:
    """Every check of a release."""
    own = [check for checks in modules for check in checks]
    return [schema_is_known(head), *STRUCTURE, *references(metadata), *numbers(metadata), *CORE, *own]


CORE = (
    Check(
        "keys of writes that are no keys",
        "SELECT encode(id, 'hex') FROM request_key"
        " WHERE octet_length(id) <> 32 OR status NOT BETWEEN 200 AND 599 OR jsonb_typeof(headers) <> 'object'",
    ),
    Check(
        "lines of the outbox that cannot be told",
        "SELECT id::text FROM outbox WHERE subject = '' OR jsonb_typeof(messages) <> 'array'",
    ),
    Check(
        "activity before its record was made",
        "SELECT later.id::text FROM activity AS later JOIN activity AS first USING (subject_type, subject_id)"
        " WHERE first.verb = 'created' AND later.id < first.id AND later.subject_type IN ('task', 'channel', 'user')",
    ),
)
