"""PostgreSQL, asked in one statement a look over one connection that stays open.

On the server's own host it is asked as its superuser, who sees everything; from elsewhere as the application, who sees
its own sessions, which are those of the instances. The driver comes with the release and is not part of Python: it is
imported when it is needed, and where it cannot be, this says so and everything else is shown.
"""

import os
import pwd
import select
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from hecto.fleet.layout import Layout
from hecto.fleet.top import statements
from hecto.fleet.top.settings import Settings

SUPERUSER = "postgres"
# A local server answers within milliseconds, on a host that is out of breath within seconds; after that it is away.
TIMEOUT = 5.0
# What costs the server more than a millisecond is asked this seldom.
SELDOM = 10.0
SLOWEST = 3


class Postgres:
    """The PostgreSQL that the instances of this host use, or the one that runs here."""

    def __init__(self, layout: Layout, settings: Settings, seldom: float = SELDOM) -> None:
        self._password = layout.secrets / "database-password"
        self._settings = settings
        self._connection: Any = None
        self._before: tuple[float, dict[str, Any]] | None = None
        self._seldom: dict[str, Any] = {}
        self._seldom_after, self._seldom_at = seldom, -seldom
        self._spent: tuple[float, dict[int, tuple[int, float]]] | None = None
        self._texts: dict[int, str] = {}

    def look(self) -> dict[str, Any] | None:
        """The state as plain values; None where no PostgreSQL belongs to this host."""
        if not self._settings.postgres_host:
            return None
        try:
            import psycopg2  # it is the app's, see above
        except ImportError as error:
            return {"state": "unknown", "why": f"its driver cannot be loaded: {error}"}
        try:
            found = self._look()
        except (psycopg2.Error, OSError, KeyError) as error:
            self._close()
            return {"state": "down", "why": _why(error), **self._which()}
        return {"state": "up", **self._which(), **found}

    def _which(self) -> dict[str, bool]:
        return {"here": self._settings.postgres_here, "of_several": bool(self._settings.host)}

    def _look(self) -> dict[str, Any]:
        if self._connection is None:
            self._connect()
        found: dict[str, Any] = self._ask(statements.NOW)[0][0]
        now = time.monotonic()
        if now - self._seldom_at >= self._seldom_after or self._spent is None:
            self._look_seldom(now)
        before, self._before = self._before, (now, found)
        pool = {"pool": self._settings.pool}
        return {
            **found,
            **pool,
            **self._seldom,
            **rates(found, before[1] if before else None, now - (before or (now,))[0]),
        }

    def _look_seldom(self, now: float) -> None:
        self._seldom_at = now
        self._seldom = self._ask(statements.SELDOM)[0][0]
        if not self._seldom.pop("statements"):
            self._spent, self._seldom["slow"] = (now, {}), None
            return
        spent = {row[0]: (int(row[1]), float(row[2])) for row in self._ask(statements.SPENT)}
        before, self._spent = self._spent, (now, spent)
        slow = slowest(spent, before[1]) if before and before[1] else []
        unknown = [one["id"] for one in slow if one["id"] not in self._texts]
        if unknown:
            self._texts |= {row[0]: row[1] for row in self._ask(statements.TEXTS, (unknown,))}
        for one in slow:
            one["text"] = self._texts.get(one["id"], "")
            # A number of 64 bits: not every reader of JSON has one.
            one["id"] = str(one["id"])
        self._seldom["slow"] = slow
        self._seldom["slow_seconds"] = round(now - before[0], 1) if before and before[1] else None

    def _connect(self) -> None:
        import psycopg2
        import psycopg2.extensions

        # libpq's own waits have no end; this is the only user of the driver in this program.
        psycopg2.extensions.set_wait_callback(_wait)
        known = self._settings
        where = {"host": known.postgres_host, "port": known.postgres_port, "application_name": "hecto-fleet top"}
        if not known.postgres_here:
            self._connection = psycopg2.connect(
                **where,
                dbname=known.postgres_database,
                user=known.postgres_user,
                password=self._password.read_text().strip(),
            )
        else:
            with _as_user(SUPERUSER):
                try:
                    self._connection = psycopg2.connect(**where, dbname=known.postgres_database, user=SUPERUSER)
                except psycopg2.OperationalError as error:
                    if "does not exist" not in str(error):
                        raise
                    self._connection = psycopg2.connect(**where, dbname=SUPERUSER, user=SUPERUSER)
        self._connection.autocommit = True
        self._before = self._spent = None
        if known.postgres_here:
            # Whoever looks must not be in the way. Not through a pooler, whose sessions are others' afterwards.
            self._ask("SET statement_timeout = '4s'; SET default_transaction_read_only = on; SELECT 1")

    def _ask(self, statement: str, values: tuple[Any, ...] | None = None) -> list[tuple[Any, ...]]:
        with self._connection.cursor() as cursor:
            cursor.execute(statement, values)
            rows: list[tuple[Any, ...]] = cursor.fetchall()
        return rows

    def _close(self) -> None:
        connection, self._connection = self._connection, None
        self._before = self._spent = None
        if connection is not None:
            connection.close()


def rates(now: dict[str, Any], before: dict[str, Any] | None, passed: float) -> dict[str, Any]:
    """What happened a second between two looks; without one before, what is known of ever since."""
    if before is None or passed <= 0 or now["started"] != before["started"]:
        blocks = now["hit"] + now["read"]
        return {"transactions": None, "rolled_back": None, "hit_share": now["hit"] / blocks if blocks else None}
    hit, read = now["hit"] - before["hit"], now["read"] - before["read"]
    if hit + read < 100:
        # Of a few blocks a share says nothing.
        hit, read = now["hit"], now["read"]
    return {
        "transactions": max(0, now["commits"] + now["rollbacks"] - before["commits"] - before["rollbacks"]) / passed,
        "rolled_back": max(0, now["rollbacks"] - before["rollbacks"]) / passed,
        "hit_share": round(hit / (hit + read), 5) if hit + read else None,
        "deadlocks_now": max(0, now["deadlocks"] - before["deadlocks"]),
    }


def slowest(now: dict[int, tuple[int, float]], before: dict[int, tuple[int, float]]) -> list[dict[str, Any]]:
    """The statements that took the server the most time since the look before: how often, and how long each time."""
    found = []
    for one, (calls, milliseconds) in now.items():
        calls_before, milliseconds_before = before.get(one, (0, 0.0))
        if calls > calls_before:
            total = max(0.0, milliseconds - milliseconds_before)
            times = calls - calls_before
            found.append({"id": one, "calls": times, "mean": round(total / times / 1000, 6), "total": total / 1000})
    found.sort(key=lambda row: -row["total"])
    return found[:SLOWEST]


@contextmanager
def _as_user(name: str) -> Iterator[None]:
    """Be another user while a connection is made: the server asks the kernel who that was (peer authentication).

    Only root can; for anybody else it is as it is. What is sent and read later needs no rights.
    """
    if os.geteuid() != 0:
        yield
        return
    user = pwd.getpwnam(name)
    group = os.getegid()
    os.setegid(user.pw_gid)
    os.seteuid(user.pw_uid)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(group)


def _wait(connection: Any) -> None:
    """Wait for the server as long as TIMEOUT; psycopg2 then closes the connection."""
    import psycopg2
    from psycopg2.extensions import POLL_OK, POLL_READ

    deadline = time.monotonic() + TIMEOUT
    while (state := connection.poll()) != POLL_OK:
        ready = [connection.fileno()]
        left = max(0.0, deadline - time.monotonic())
        found = select.select(*((ready, []) if state == POLL_READ else ([], ready)), [], left)
        if not found[0] and not found[1]:
            raise psycopg2.OperationalError(f"no answer within {TIMEOUT:g} s")


def _why(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if not lines:
        return type(error).__name__
    # libpq repeats where it connected to; what counts is behind that.
    return lines[0].rsplit("failed: ", 1)[-1].removeprefix("FATAL: ").strip()
