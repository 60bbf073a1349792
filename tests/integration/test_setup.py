"""What hecto-admin does to a database and says to open pages."""

from __future__ import annotations

import json
import queue
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import socketio

from hecto.migrations import revisions
from hecto.realtime.bus import ANNOUNCED
from tests.servers import REPOSITORY, Postgres, Site

HEAD = revisions.known()[-1]
NEXT = f"{int(HEAD) + 1:04d}"
MIGRATION = '''"""A change of the schema."""
from alembic import op
revision, down_revision = "{revision}", "{before}"
{declares}
def upgrade() -> None:
    op.execute("{sql}")
'''


@pytest.fixture
def own(directory: Path, postgres: Postgres, redis_server, request) -> Site:
    """A site that nobody else uses."""
    found = Site(directory, postgres, redis_server, f"setup_{abs(hash(request.node.name)) % 10**9}")
    found.setup()
    return found


@pytest.fixture
def release(tmp_path: Path):
    """The app with one more migration, as a release would carry it."""

    def build(sql: str, declares: str = "") -> Path:
        app = tmp_path / "app"
        shutil.copytree(REPOSITORY / "app" / "hecto", app / "hecto", ignore=shutil.ignore_patterns("static"))
        text = MIGRATION.format(revision=NEXT, before=HEAD, sql=sql, declares=declares)
        (app / "hecto" / "migrations" / "versions" / f"{NEXT}_more.py").write_text(text)
        return app

    return build


def begin(site: Site, *words: str, app: Path | None = None) -> subprocess.Popen[str]:
    environment = site.environment(HECTO_DATABASE_USER="hecto_owner")
    if app:
        environment["PYTHONPATH"] = str(app)
    command = [sys.executable, "-m", "hecto.cli", *words]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def hecto(site: Site, *words: str, app: Path | None = None) -> subprocess.CompletedProcess[str]:
    process = begin(site, *words, app=app)
    output, errors = process.communicate()
    return subprocess.CompletedProcess(process.args, process.returncode, output, errors)


def schema(site: Site, **options) -> dict:
    return json.loads(hecto(site, "schema", "--json", **options).stdout)


def test_the_schema_is_told(own):
    assert schema(own) == {"current": HEAD, "head": HEAD, "floor": None}


def test_the_hosts_of_a_new_site_may_set_it_up_at_once(directory, postgres, redis_server):
    site = Site(directory, postgres, redis_server, "setup_at_once")
    hosts = [begin(site, "setup") for _ in range(3)]
    said = [host.communicate() for host in hosts]
    assert [host.returncode for host in hosts] == [0, 0, 0], said
    made = [json.loads(output) for output, _ in said]
    assert sorted(one["changed"] for one in made) == [False, False, True]
    assert [one["administrator"] for one in made if one["changed"]] == ["admin@example.com"]


def test_a_migration_that_hurts_changes_nothing(own, release):
    app = release("CREATE INDEX ix_task_more ON task (title, id)")
    for words in (["setup", "--check"], ["setup"]):
        done = hecto(own, *words, app=app)
        assert done.returncode == 1
        assert f"revision {NEXT}" in done.stderr
        assert "ix_task_more" in done.stderr
    assert schema(own)["current"] == HEAD


def test_what_takes_away_waits_for_those_that_use_it(own, release):
    app = release("ALTER TABLE task DROP COLUMN description", f"contract, needs = True, '{HEAD}'")
    for running in ([], ["--running", "0001"], ["--running", ""]):
        done = hecto(own, "setup", *running, app=app)
        assert done.returncode == 1
        assert f"{NEXT} takes away" in done.stderr
    done = hecto(own, "setup", "--running", HEAD, app=app)
    assert done.returncode == 0, done.stderr
    assert schema(own, app=app) == {"current": NEXT, "head": NEXT, "floor": HEAD}
    # The release before it does not know the migration, but it finds what it left in the database.
    assert schema(own) == {"current": NEXT, "head": HEAD, "floor": HEAD}
    assert json.loads(hecto(own, "setup").stdout)["changed"] is False


def test_a_lock_that_somebody_holds_is_waited_for_in_short_turns(own, release, postgres):
    app = release("ALTER TABLE task ADD COLUMN more text")
    holder = postgres.open(own.database)
    holder.ask("BEGIN; LOCK TABLE task IN ACCESS SHARE MODE; SELECT 'held';")
    process = begin(own, "setup", app=app)
    # Held until setup has given up once, however long this machine takes to get there.
    said = ""
    while "trying again" not in said and (line := process.stderr.readline()):
        said += line
    holder.close()
    output, more = process.communicate(timeout=60)
    assert process.returncode == 0, said + more
    assert "trying again" in said
    assert json.loads(output)["migrations"] == [NEXT]


def test_a_database_that_is_away_is_said_in_one_line(site, tmp_path):
    environment = site.environment(HECTO_DATABASE_HOST=str(tmp_path))
    command = [sys.executable, "-m", "hecto.cli", "users", "list"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("hecto: A service that Hecto needs does not answer: The database")
    assert "Traceback" not in done.stderr


@pytest.fixture
def announce(site, redis_server):
    """Announces a release to the site; forgotten after the test."""
    yield lambda release: hecto(site, "announce", release)
    redis_server.ask("DEL", ANNOUNCED)


@pytest.fixture
def page(member):
    """Opens the socket of a page; returns what it hears of releases."""
    opened = []

    def connect() -> queue.Queue:
        heard: queue.Queue = queue.Queue()
        client = socketio.Client(reconnection=False)
        client.on("release.new", heard.put)
        token = member.headers["Authorization"][7:]
        client.connect(member.base, transports=["websocket"], auth={"token": token, "recovery": False}, wait_timeout=10)
        opened.append(client)
        return heard

    yield connect
    for client in opened:
        client.disconnect()


def test_open_pages_hear_of_a_new_release(announce, page):
    heard = page()
    assert announce("0123456789ab").returncode == 0
    assert heard.get(timeout=5)["release"] == "0123456789ab"


def test_pages_that_come_back_later_hear_of_it_too(announce, page, browser):
    """With the time, since a page that was made after it may be of a release that is still being rolled out."""
    before = float(re.search('data-made="([0-9.]+)"', browser.see("/tasks"))[1])
    announce("0123456789ab")
    told = page().get(timeout=5)
    after = float(re.search('data-made="([0-9.]+)"', browser.see("/tasks"))[1])
    assert told["release"] == "0123456789ab"
    assert before < told["at"] < after


def test_it_is_told_whether_an_announcement_is_news(announce):
    told = [json.loads(announce(release).stdout)["changed"] for release in ("one", "one", "two", "one")]
    assert told == [True, False, True, True]


def test_an_announcement_that_nobody_can_hear_fails(site, tmp_path):
    environment = site.environment(HECTO_REDIS_SOCKET=str(tmp_path / "nobody"))
    command = [sys.executable, "-m", "hecto.cli", "announce", "0123456789ab"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("hecto: ")
