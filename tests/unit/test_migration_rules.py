"""What a migration may not do while the release before it runs: one bad migration of each kind, and the good way."""

from __future__ import annotations

import re

import pytest
from alembic.script import ScriptDirectory

from hecto.migrations import migrate, revisions
from hecto.migrations.rules import Revision, check, floor
from hecto.migrations.sql import statements

# Each is refused in a migration of its own; what is taken away only, may be done by one that declares it.
HURTS = [
    "ALTER TABLE task ALTER COLUMN priority TYPE bigint",
    "ALTER TABLE task ALTER priority SET DATA TYPE bigint USING priority::bigint",
    "ALTER TABLE task ALTER COLUMN due_date SET NOT NULL",
    "ALTER TABLE task ADD COLUMN colour text NOT NULL",
    "ALTER TABLE task ADD COLUMN key uuid DEFAULT gen_random_uuid()",
    "ALTER TABLE task ADD COLUMN seen timestamptz NOT NULL DEFAULT clock_timestamp()",
    "ALTER TABLE task ADD number bigserial",
    "ALTER TABLE task ADD number bigint GENERATED ALWAYS AS IDENTITY",
    "ALTER TABLE task ADD words tsvector GENERATED ALWAYS AS (to_tsvector('english', title)) STORED",
    "ALTER TABLE task ADD COLUMN owner_id bigint REFERENCES app_user",
    "ALTER TABLE task ADD COLUMN code text UNIQUE",
    "ALTER TABLE task ADD COLUMN age int CHECK (age > 0)",
    "ALTER TABLE task ADD CONSTRAINT ck_task_x CHECK (priority > 0)",
    "ALTER TABLE task ADD CONSTRAINT fk_task_x FOREIGN KEY (creator_id) REFERENCES app_user",
    "ALTER TABLE task ADD CONSTRAINT uq_task_title UNIQUE (title)",
    "ALTER TABLE task ADD PRIMARY KEY (title)",
    "ALTER TABLE task ADD CONSTRAINT ex EXCLUDE USING gist (title WITH =)",
    "ALTER TABLE task SET UNLOGGED",
    "ALTER TABLE task SET TABLESPACE fast",
    "ALTER TABLE task ADD COLUMN a text, ALTER COLUMN title TYPE varchar(10)",
    "ALTER TABLE task CLUSTER ON pk_task",
    "ALTER TABLE task FROBNICATE",
    "CREATE INDEX ix_task_title ON task (title)",
    "CREATE UNIQUE INDEX IF NOT EXISTS uq_task_title ON public.task USING btree (lower(title))",
    "CREATE INDEX ON task (title)",
    "DROP INDEX ix_task_status",
    "REINDEX TABLE task",
    "REFRESH MATERIALIZED VIEW totals",
    "VACUUM FULL task",
    "LOCK TABLE task IN ACCESS EXCLUSIVE MODE",
    "SET lock_timeout = 0",
    "SET LOCAL statement_timeout = '1h'",
    "RESET ALL",
    "UPDATE task SET title = trim(title)",
    "DELETE FROM request_key",
    "DO $$ BEGIN DROP TABLE task; END $$",
    "CALL rewrite_everything()",
]
TAKES_AWAY = [
    "DROP TABLE task",
    "DROP VIEW IF EXISTS open_tasks",
    "DROP TRIGGER t ON task",
    "TRUNCATE request_key",
    "ALTER TABLE task DROP COLUMN title",
    "ALTER TABLE task DROP title",
    "ALTER TABLE task RENAME TO job",
    "ALTER TABLE task RENAME COLUMN title TO name",
    "ALTER TABLE role DROP CONSTRAINT uq_role_name",
    "ALTER TABLE task ALTER COLUMN priority DROP DEFAULT",
    "ALTER TABLE task SET SCHEMA old",
    "ALTER TABLE task DISABLE TRIGGER ALL",
    "ALTER TYPE mood RENAME VALUE 'ok' TO 'fine'",
    "ALTER VIEW open_tasks RENAME TO tasks_open",
    "REVOKE SELECT ON task FROM hecto_app",
]
FINE = [
    "CREATE TABLE invoice (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, task_id bigint REFERENCES task)",
    "CREATE TABLE invoice (id bigint); CREATE UNIQUE INDEX uq ON invoice (id); ALTER TABLE invoice ADD x int NOT NULL",
    "ALTER TABLE task ADD COLUMN colour text",
    "ALTER TABLE task ADD COLUMN colour text NOT NULL DEFAULT 'drop table; rename'",
    "ALTER TABLE task ADD COLUMN points numeric(12, 2) NOT NULL DEFAULT 0, ADD COLUMN tags text[] DEFAULT '{}'::text[]",
    "ALTER TABLE task ADD COLUMN seen_at timestamptz NOT NULL DEFAULT now()",
    "ALTER TABLE task ADD CONSTRAINT ck_task_x CHECK (priority > 0) NOT VALID",
    "ALTER TABLE task ADD CONSTRAINT fk_x FOREIGN KEY (a, b) REFERENCES other (a, b) ON DELETE CASCADE NOT VALID",
    "ALTER TABLE task DROP CONSTRAINT ck_task_status",
    "ALTER TABLE task ALTER COLUMN title SET DEFAULT ''",
    "ALTER TABLE task ALTER COLUMN due_date DROP NOT NULL",
    "ALTER TYPE mood ADD VALUE 'bored'",
    "ALTER INDEX ix_task_status RENAME TO ix_task_state",
    "COMMENT ON TABLE task IS 'rename, drop and lock'",
    "INSERT INTO role (name) VALUES ('DROP TABLE role')",
    "UPDATE role SET label = 'Member' WHERE name = 'member'",
    "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN DELETE FROM task; RETURN NEW; END $$",
    "CREATE TRIGGER t BEFORE UPDATE ON task FOR EACH ROW EXECUTE FUNCTION f()",
    "GRANT SELECT ON task TO hecto_read",
]


def revision(sql: str, number: str = "0002", **declared) -> Revision:
    return Revision(number, statements(f"BEGIN; {sql}; COMMIT;"), **declared)


def faults(*migrations: Revision) -> list[str]:
    return [str(fault) for fault in check([Revision("0001", []), *migrations])]


@pytest.mark.parametrize("sql", [*HURTS, *TAKES_AWAY])
def test_what_would_hurt_the_release_that_runs_is_refused(sql):
    found = faults(revision(sql))
    assert len(found) == 1
    assert "revision 0002" in found[0]
    assert sql.split()[0] in found[0]
    assert "Instead: " in found[0]


@pytest.mark.parametrize("sql", FINE)
def test_what_only_adds_is_fine(sql):
    assert faults(revision(sql)) == []


@pytest.mark.parametrize("sql", TAKES_AWAY)
def test_a_declared_migration_may_take_away(sql):
    assert faults(revision(sql, contract=True, needs="0001")) == []


@pytest.mark.parametrize("sql", HURTS)
def test_no_declaration_allows_long_locks(sql):
    assert len(faults(revision(sql, contract=True, needs="0001"))) == 1


@pytest.mark.parametrize(
    "declared",
    [{"contract": True}, {"contract": True, "needs": "0002"}, {"contract": True, "needs": "x"}, {"needs": "0001"}],
)
def test_a_declaration_says_who_works_after_it(declared):
    assert len(faults(revision("DROP TABLE task", **declared))) >= 1
    assert any("declares" in fault for fault in faults(revision("SELECT setval('s', 1)", **declared)))


def test_not_null_needs_a_proof_that_took_no_long_lock():
    claim = "ALTER TABLE task ADD CONSTRAINT ck_due CHECK (due_date IS NOT NULL) NOT VALID"
    prove = "ALTER TABLE task VALIDATE CONSTRAINT ck_due"
    use = "ALTER TABLE task ALTER COLUMN due_date SET NOT NULL"
    assert faults(revision(claim), revision(prove, "0003"), revision(use, "0004")) == []
    assert len(faults(revision(claim), revision(use, "0003"))) == 1
    assert len(faults(revision(f"{claim}; {prove}"))) == 1


def test_an_index_is_built_beside_the_traffic_and_alone():
    build = "DROP INDEX CONCURRENTLY IF EXISTS ix_task_x; CREATE INDEX CONCURRENTLY ix_task_x ON task (title);"
    outside = Revision("0002", statements(f"BEGIN; COMMIT; {build} BEGIN; COMMIT;"))
    assert faults(outside) == []
    assert all("transaction" in fault for fault in faults(revision(build)))
    without = Revision("0002", statements("CREATE INDEX CONCURRENTLY ix_task_x ON task (title)"))
    assert "invalid index" in faults(without)[0]
    mixed = Revision("0002", statements(f"BEGIN; ALTER TABLE task ADD x int; COMMIT; {build}"))
    assert "done twice" in faults(mixed)[0]


def test_every_refusal_names_its_own_statement():
    found = faults(revision("ALTER TABLE task ADD a int; DROP TABLE role; CREATE INDEX i ON task (a)"))
    assert ["DROP TABLE role" in found[0], "CREATE INDEX i ON task (a)" in found[1], len(found)] == [True, True, 2]


def test_the_floor_is_what_applied_migrations_need():
    history = [revision("", "0001"), revision("DROP TABLE a", "0003", contract=True, needs="0001")]
    assert floor(history, "0002") is None
    assert floor(history, "0003") == "0001"
    assert floor(history, None) is None


def test_the_migrations_of_this_release_hurt_nobody():
    assert check([migrate.offline(one) for one in revisions.known()]) == []


def test_revisions_are_numbers_in_one_line():
    """Numbers are compared to tell which of two schemas is newer, here and on hosts."""
    script = ScriptDirectory(str(revisions.VERSIONS.parent))
    line = [one.revision for one in script.walk_revisions()][::-1]
    assert line == revisions.known() == sorted(line)
    assert all(re.fullmatch(r"\d{4}", revision) for revision in line)


def test_a_contracting_migration_waits_for_releases_that_know_better(monkeypatch):
    history = {
        "0001": Revision("0001", []),
        "0002": revision("ALTER TABLE task ADD name text"),
        "0003": revision("ALTER TABLE task DROP title", "0003", contract=True, needs="0002"),
    }
    monkeypatch.setattr(revisions, "known", lambda: list(history))
    monkeypatch.setattr(migrate, "offline", history.__getitem__)
    migrate.judge(["0003"], "0002", "0002")
    migrate.judge(["0001", "0002", "0003"], None, None)
    migrate.judge(["0003"], migrate.NOBODY, "0001")
    for running in ("0001", "", None):
        with pytest.raises(migrate.Refused, match="0003 takes away"):
            migrate.judge(["0002", "0003"], running, "0001")


def test_a_migration_that_hurts_is_refused_when_it_is_pending(monkeypatch):
    history = {"0001": Revision("0001", []), "0002": revision("DROP TABLE task")}
    monkeypatch.setattr(revisions, "known", lambda: list(history))
    monkeypatch.setattr(migrate, "offline", history.__getitem__)
    migrate.judge([], "0001", "0002")
    with pytest.raises(migrate.Refused, match="revision 0002"):
        migrate.judge(["0002"], "0001", "0001")
