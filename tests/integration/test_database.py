"""psycopg2 under gevent: a wait that is cut short neither stops the process nor leaves a broken connection behind."""

from __future__ import annotations

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
    assert database.connections_in_use() == 0

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


def test_a_wait_that_is_cut_short_leaves_the_process_and_the_pool_alive(site):
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(PROGRAM)],
        env=site.environment(0),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout.strip() == "well", done.stderr
