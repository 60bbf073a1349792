"""psycopg2 under gevent: a wait that is cut short neither stops the process nor leaves a broken connection behind."""

from __future__ import annotations

import itertools
import subprocess
import sys
import textwrap

# In a process of its own, because gevent patches everything in it.
PROGRAM = """
    from gevent import monkey
    monkey.patch_all()
    import sys
    import gevent
    import psycopg2
    from sqlalchemy import exc, text
    from hecto import settings
    from hecto.core import db

    database = db.Database(settings.load())

    def ask(statement):
        with database.write_session() as session:
            return session.scalar(text(statement))

    for number in range(20):
        asking = gevent.spawn(ask, "SELECT pg_sleep(30)")
        gevent.sleep(0.02 * (number % 4))  # in mid-connect, in mid-setup, in mid-query
        gevent.kill(asking)
        assert ask(f"SELECT {number}") == number
    assert database.pool.checkedout() == 0

    with gevent.Timeout(0.1, False):
        ask("SELECT pg_sleep(30)")
    db.ANSWER_TIMEOUT = 0.2
    try:
        ask("SELECT pg_sleep(30)")
    except exc.OperationalError as error:
        assert "did not answer" in str(error), error
        assert error.connection_invalidated
    else:
        raise AssertionError("it waited for more than its timeout")
    assert ask("SELECT 7") == 7
    print("well")
"""

# Prints the backend of a read, waits for its end, and finishes the read; then reads and writes alternately.
READS = """
    from gevent import monkey
    monkey.patch_all()
    from sqlalchemy import text
    from hecto import settings
    from hecto.core import db, unit_of_work

    database = db.Database(settings.load())

    def ask(statement):
        return lambda session: session.scalar(text(statement))

    def end(session):
        backend = session.scalar(text("SELECT pg_backend_pid()"))
        print(backend, flush=True)
        input()

    unit_of_work.read(database, ask("SELECT 1"))
    unit_of_work.read(database, end)
    assert database.pool.checkedout() == 0
    for number in range(3):
        unit_of_work.read(database, ask(f"SELECT 'read {number}'"))
        unit_of_work.run(database, ask(f"SELECT 'write {number}'"))
"""


REPORT = """
from gevent import monkey
monkey.patch_all()
from sqlalchemy import text
from hecto import settings
from hecto.core import unit_of_work
from hecto.core.db import Database
from hecto.core.errors import Unavailable

database = Database(settings.load())
ask = lambda session: session.scalar(text("SELECT 1"))
print("read", unit_of_work.read(database, ask))
try:
    print("report", unit_of_work.report(database, ask))
except Unavailable:
    print("no report")
database.dispose()
"""


def run(program, site, **more):
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program)],
        env={**site.environment(0), **more},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_wait_that_is_cut_short_leaves_the_process_and_the_pool_alive(site):
    output, errors = run(PROGRAM, site).communicate(timeout=60)
    assert output.strip() == "well", errors


def test_reports_ask_the_server_that_is_there_for_them_and_nothing_else_does(site, postgres, tmp_path):
    for directory, answer in ((postgres.directory, "report 1"), (tmp_path, "no report")):
        output, errors = run(REPORT, site, HECTO_DATABASE_REPORT_HOST=str(directory)).communicate(timeout=60)
        assert output.splitlines() == ["read 1", answer], errors


def test_a_read_whose_connection_ends_behind_it_stands_and_gives_its_place_in_the_pool_back(site, sql, postgres):
    """And a read is one statement, a write a transaction, whichever the connection was used for before."""
    sql("ALTER ROLE hecto_app SET log_statement = 'all'")
    try:
        process = run(READS, site)
        sql(f"SELECT pg_terminate_backend({process.stdout.readline()}, 5000)")
        _, errors = process.communicate("\n", timeout=60)
    finally:
        sql("ALTER ROLE hecto_app RESET log_statement")
    assert process.returncode == 0, errors
    log = (postgres.directory / "log").read_text()
    statements = [line.split("statement: ")[1] for line in log.splitlines() if "statement: " in line]
    expected = [[f"SELECT 'read {n}'", "BEGIN", f"SELECT 'write {n}'", "COMMIT"] for n in range(3)]
    assert statements[statements.index(expected[0][0]) :] == [*itertools.chain(*expected)]
