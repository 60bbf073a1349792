"""What must hold of the data does after ordinary use, and each thing that does not is found and named."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.servers import Postgres, Redis, Site


def admin(site: Site, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run hecto-admin as on a host."""
    command = [sys.executable, "-m", "hecto.cli", *words]
    return subprocess.run(
        command, env=site.environment(**environment), capture_output=True, text=True, check=False, timeout=60
    )


@pytest.fixture
def own(directory: Path, postgres: Postgres, redis_server: Redis, request: pytest.FixtureRequest) -> Site:
    """A site that nobody else uses."""
    found = Site(directory, postgres, redis_server, f"checks_{abs(hash(request.node.name)) % 10**9}")
    found.setup()
    return found


def sql(site: Site, statements: str) -> str:
    # As the superuser, and past the foreign keys: what is looked for is what PostgreSQL would not let happen.
    return site.postgres.sql(site.database, f"SET session_replication_role = replica; {statements}")


PEOPLE = """
    INSERT INTO task (title, description, status, priority, creator_id, version, created_at, updated_at)
    SELECT 'Sort', '', 'open', 2, 1, 1, now(), now() FROM generate_series(1, 3);
    INSERT INTO activity (subject_type, subject_id, actor_id, verb, data, created_at)
    SELECT 'task', id, 1, 'created', '{}', now() FROM task;
    INSERT INTO channel (kind, name, topic, creator_id, last_change, created_at)
    VALUES ('public', 'yard', '', 1, 3, now());
    INSERT INTO message (channel_id, number, change, author_id, text, links, created_at)
    SELECT 1, number, number, 1, 'a word', '[]', now() FROM generate_series(1, 3) AS number;
    INSERT INTO channel_member (channel_id, user_id, read_number, joined_at) VALUES (1, 1, 3, now());
"""


def test_ordinary_use_leaves_it_whole(site, admin_client_used):
    done = admin(site, "check-data", "--json")
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["faults"] == []
    assert said["checks"] > 30


@pytest.fixture
def admin_client_used(admin, member):
    """Somebody has worked: tasks with a history, one of them deleted, messages, one edited and one deleted."""
    task = admin.create_task("count")
    admin.patch(f"/api/tasks/{task['id']}", json={"version": task["version"], "status": "doing"})
    other = admin.create_task("forget")
    answer = admin.delete(f"/api/tasks/{other['id']}", params={"version": other["version"]})
    assert answer.status_code in (200, 204), answer.text
    channel = admin.post("/api/channels", json={"name": f"checks {task['id']}", "member_ids": [member.user_id]}).json()
    ids = [
        admin.post(f"/api/channels/{channel['id']}/messages", json={"text": f"word {n}"}).json()["id"] for n in range(4)
    ]
    assert admin.patch(f"/api/messages/{ids[1]}", json={"text": "another word"}).status_code == 200
    assert admin.delete(f"/api/messages/{ids[2]}").status_code in (200, 204)


def test_rows_made_by_hand_are_whole(own):
    sql(own, PEOPLE)
    done = admin(own, "check-data")
    assert done.returncode == 0, done.stderr
    assert re.search(r"whole: \d+ checks", done.stdout)


@pytest.mark.parametrize(
    ("harm", "named"),
    [
        ("DELETE FROM app_user", "task.creator_id that points to nothing"),
        ("DELETE FROM activity WHERE subject_id = 2", "tasks that were not made exactly once"),
        ("DELETE FROM task WHERE id = 2", "activity of tasks that are neither there nor deleted"),
        (
            "INSERT INTO activity (subject_type, subject_id, verb, data, created_at)"
            " VALUES ('task', 2, 'deleted', '{}', now())",
            "tasks that are there and deleted",
        ),
        ("DELETE FROM message WHERE number = 2", "channels that lack a message"),
        ("DELETE FROM message WHERE number = 3", "channels whose last change is missing"),
        (
            "UPDATE message SET number = number + 10, change = change + 10; UPDATE message SET number = 5 WHERE id = 3",
            "messages in another order than their numbers",
        ),
        ("UPDATE channel_member SET read_number = 9", "members who have read what is not written"),
        ("UPDATE app_user SET password_hash = ''", "users without a password"),
        ("SELECT setval('task_id_seq', 1)", "task.id beyond its counter"),
        ("UPDATE alembic_version SET version_num = '0001'", "schema that nobody knows"),
        ("INSERT INTO outbox (subject, drops, messages) VALUES ('x', '{}', '{}')", "lines of the outbox"),
        (
            "ALTER TABLE task ADD CONSTRAINT ck_task_long CHECK (title <> 'Sort') NOT VALID",
            "constraints that are not valid",
        ),
        (
            "INSERT INTO request_key VALUES ('\\x00', '\\x00', 201, 'x', '{}', '', now())",
            "keys of writes that are no keys",
        ),
        (
            "INSERT INTO activity (subject_type, subject_id, verb, data, created_at)"
            " VALUES ('task', 9, 'commented', '{}', now()), ('task', 9, 'created', '{}', now())",
            "activity before its record was made",
        ),
        (
            "UPDATE message SET deleted_at = now(), text = '' WHERE id = 1; INSERT INTO message_mention VALUES (1, 1)",
            "mentions in messages that are deleted",
        ),
        (
            "INSERT INTO user_session"
            " VALUES ('s', 1, 'api', '', '', now(), now(), now() - interval '1 h', NULL, '', '')",
            "sign-ins that end before they begin",
        ),
        ("DELETE FROM activity WHERE subject_type = 'user'", "users that were not made exactly once"),
    ],
)
def test_harm_is_found_and_named(own, harm, named):
    sql(own, PEOPLE + harm)
    done = admin(own, "check-data")
    assert done.returncode == 1
    assert named in done.stderr, done.stderr


def test_the_copy_knows_its_own_rules(own):
    """A restored copy is asked with psql alone, by who may only read."""
    grant = f"GRANT CONNECT ON DATABASE {own.database} TO hecto_read; GRANT USAGE ON SCHEMA public TO hecto_read;"
    own.postgres.sql(own.database, grant + "GRANT SELECT ON ALL TABLES IN SCHEMA public TO hecto_read")
    found = own.postgres.sql(own.database, "SET ROLE hecto_read; SELECT sum(faults) FROM check_data()")
    assert found == "0"


def test_setup_brings_the_rules_up_to_date_once(own):
    own.postgres.sql(own.database, "DROP FUNCTION check_data()")
    assert json.loads(own.setup("--check"))["changed"] is True
    assert json.loads(own.setup())["changed"] is True
    assert json.loads(own.setup())["changed"] is False
    assert json.loads(own.setup("--check"))["changed"] is False
