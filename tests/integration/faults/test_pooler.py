"""PgBouncer between an instance and PostgreSQL, as role pgbouncer configures it: it must not be noticed."""

from __future__ import annotations

import concurrent.futures
import os
import secrets
import shutil
import subprocess
import threading
import time
from pathlib import Path

import pytest
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from hecto.core.unit_of_work import OutcomeUnknown
from tests.servers import (
    PASSWORD,
    REPOSITORY,
    AppInstance,
    Postgres,
    Redis,
    Site,
    scratch,
    stop,
    wait_until,
)

# Fewer than the instance has, so that they are shared.
CONNECTIONS = 2
# Where there are several hosts, the primary that is moved as planned is back after three to six.
MOVE_SECONDS = 5.0


class Pooler:
    """A PgBouncer on a socket of its own."""

    def __init__(self, directory: Path, postgres: Postgres) -> None:
        directory.mkdir()
        templates = FileSystemLoader(REPOSITORY / "roles/pgbouncer/templates")
        world = Environment(loader=templates, undefined=StrictUndefined, trim_blocks=True)  # noqa: S701  it writes no pages
        variables = {
            "ansible_managed": "by Ansible",
            "__pgbouncer_directory": str(directory),
            "pgbouncer_database": "pooled",
            "pgbouncer_upstream": str(postgres.directory),
            "pgbouncer_port": 5432,
            "pgbouncer_pool": CONNECTIONS,
            "pgbouncer_clients": 64,
            "pgbouncer_query_wait_seconds": 8,
            "pgbouncer_socket_user": subprocess.check_output(["id", "-gn"], text=True).strip(),
            "pgbouncer_owner_password": PASSWORD,
            "pgbouncer_app_password": PASSWORD,
        }
        for name in ("hecto.ini", "hecto.users"):
            text = world.get_template(f"{name}.j2").render(**variables)
            # Roles have the same names in all databases of a test server.
            text = text.replace("pooled_", "hecto_").replace("/etc/pgbouncer", str(directory))
            (directory / name).write_text(text)
        self.directory, self._user = directory, "postgres" if os.geteuid() == 0 else None
        if self._user:
            shutil.chown(directory, self._user)
        self.start()

    def start(self) -> None:
        log = self.directory / "log"
        with log.open("ab") as output:
            words = [shutil.which("pgbouncer", path="/usr/sbin:/usr/bin"), str(self.directory / "hecto.ini")]
            self.process = subprocess.Popen(
                words,
                stdout=output,
                stderr=output,
                user=self._user,
                cwd=self.directory,
                extra_groups=[os.getgid()] if self._user else None,
            )
        wait_until((self.directory / ".s.PGSQL.5432").exists, "PgBouncer", self.process, log)


@pytest.fixture(scope="module")
def own():
    directory = scratch()
    postgres, redis = Postgres(directory / "postgres"), Redis(directory / "redis")
    pooler = Pooler(directory / "pooler", postgres)
    site = Site(directory, postgres, redis, "pooled", {"HECTO_DATABASE_HOST": str(pooler.directory)})
    # As the owner, whose lock on migrations lives as long as the connection.
    site.setup()
    instance = AppInstance(site)
    yield postgres, redis, instance
    instance.stop()
    stop(pooler.process)
    redis.stop()
    postgres.stop()


def test_few_connections_serve_many_requests_at_once(user, postgres):
    with concurrent.futures.ThreadPoolExecutor(12) as pool:
        answers = list(
            pool.map(lambda number: user.post("/api/tasks", json={"title": f"{number}"}).status_code, range(60))
        )
    assert answers == [201] * 60
    assert (
        int(postgres.sql("pooled", "SELECT count(*) FROM pg_stat_activity WHERE usename = 'hecto_app'")) <= CONNECTIONS
    )


def test_nothing_of_a_session_is_left_to_the_next(postgres, instance):
    """What the code sets, it sets for its transaction."""
    for name, expected in {"synchronous_commit": "on", "statement_timeout": "0"}.items():
        words = [
            "psql",
            "-h",
            instance.environment["HECTO_DATABASE_HOST"],
            "-U",
            "hecto_app",
            "-qAtc",
            f"SHOW {name}",
            "pooled",
        ]
        for _ in range(CONNECTIONS * 2):
            done = subprocess.run(
                words, env={**os.environ, "PGPASSWORD": PASSWORD}, text=True, capture_output=True, check=True
            )
            assert done.stdout.strip() == expected


@pytest.mark.parametrize("away", [0.0, MOVE_SECONDS])
def test_a_restart_or_a_move_of_the_database_fails_no_request(user, instance, postgres, away):
    """PgBouncer takes connections while nobody is behind it, and ends them at once."""
    workers, over = 4, threading.Event()
    answers: list[list[int]] = [[] for _ in range(workers)]

    def work(mine: list[int]) -> None:
        client = user.at(instance)
        # Slowly: a user has an allowance of requests.
        while not over.wait(0.1):
            key = {"Idempotency-Key": secrets.token_hex(8)}
            answer = client.post("/api/tasks", json={"title": "while it restarts"}, headers=key)
            if answer.status_code == 504 and answer.json()["title"] == OutcomeUnknown.title:
                # The server stopped in the middle of a commit, and only a repeat can tell.
                answer = client.post("/api/tasks", json={"title": "while it restarts"}, headers=key)
            mine.append(answer.status_code)

    with concurrent.futures.ThreadPoolExecutor(workers) as pool:
        for mine in answers:
            pool.submit(work, mine)
        try:
            for _ in range(2):
                postgres.stop()
                time.sleep(away)
                postgres.start()
                # Whoever waited is through before the next one: an instance waits for one restart.
                through = [len(mine) + 10 for mine in answers]
                wait_until(
                    lambda: all(len(mine) >= enough for mine, enough in zip(answers, through, strict=True)),  # noqa: B023
                    "writes again",
                    seconds=20,
                )
        finally:
            over.set()
    statuses = [status for mine in answers for status in mine]
    assert statuses == [201] * len(statuses)


def test_a_database_that_stays_away_is_told_soon(user, postgres):
    postgres.stop()
    try:
        started = time.monotonic()
        answer = user.post("/api/tasks", json={"title": "lost"})
        # Before nginx gives up and asks another instance, for nothing.
        assert time.monotonic() - started < 9
        assert (answer.status_code, answer.headers["Retry-After"]) == (504, "2")
        assert user.get("/api/health").json()["services"]["database"] == "unhealthy"

        def soon() -> bool:
            started = time.monotonic()
            return user.get("/api/tasks/1").status_code == 504 and time.monotonic() - started < 1

        wait_until(soon, "a quick answer", seconds=20)
    finally:
        postgres.start()
    wait_until(lambda: user.get("/api/tasks/1").status_code == 200, "the database", seconds=10)
