"""One look at the whole site, bounded in time: what does not answer is shown as away, and all the rest with it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gevent
import orjson
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from hecto.core import clock
from hecto.core.services import Services
from hecto.core.store import StoreUnavailable
from hecto.fleet.top import problems
from hecto.fleet.top.redis import figures
from hecto.modules.system import queries

# All questions are asked side by side, so it is the longest for all of them, too.
LONGEST_SECONDS = 2.0
# An instance speaks every ten seconds; one that has not for this long is about to be forgotten.
LATE_SECONDS = 16.0
# What backups and their tests say of themselves on this host: a file for each, an object of JSON.
BACKUPS = Path("/var/lib/hecto/backup")
LARGEST_FILE = 100_000

Part = dict[str, Any]


def look(shared: Services) -> dict[str, Any]:
    """The state of the site at this moment."""
    asked: dict[str, Callable[[], Any]] = {
        "database": lambda: _database(shared),
        "redis": lambda: _redis(shared),
        "instances": lambda: _instances(shared),
    }
    running = {name: gevent.spawn(ask) for name, ask in asked.items()}
    gevent.joinall(list(running.values()), timeout=LONGEST_SECONDS)
    found: dict[str, Any] = {name: greenlet.value for name, greenlet in running.items()}
    gevent.killall(list(running.values()), block=False)
    silent = {"state": "down", "why": f"no answer within {LONGEST_SECONDS:g} s"}
    database = found["database"] or silent
    if not found["database"] and shared.database.is_full():
        database = {"state": "busy", "why": "every connection of the instance that answers here is in use"}
    instances = found["instances"]
    state: dict[str, Any] = {
        "at": clock.now().isoformat(),
        "answered_by": shared.heartbeat.name,
        "database": database,
        "redis": found["redis"] or silent,
        # Without Redis nobody knows of the others.
        "instances": instances if instances is not None else [_own(shared)],
        "complete": instances is not None,
        "backups": backups(BACKUPS),
    }
    state["totals"] = totals(state["instances"])
    state["problems"] = [{"what": what, "means": means} for what, means in _problems(state)]
    return state


def _database(shared: Services) -> Part:
    try:
        try:
            found = _ask(shared)
        except DBAPIError as error:
            if not error.connection_invalidated:
                raise
            # A connection from before a restart of the server says nothing of the server that is there now.
            found = _ask(shared)
    except PoolTimeout:
        return {"state": "busy", "why": "every connection of the instance that answers here is in use"}
    except SQLAlchemyError as error:
        return {"state": "down", "why": _first_line(getattr(error, "orig", None) or error)}
    blocks = found["hit"] + found["read"]
    return {"state": "up", **found, "hit_share": found["hit"] / blocks if blocks else None}


def _ask(shared: Services) -> Part:
    with shared.database.read_session() as session:
        return queries.database(session)


def _redis(shared: Services) -> Part:
    try:
        info = shared.store.use(lambda client: client.info())
    except StoreUnavailable as error:
        return {"state": "down", "why": _first_line(error.__cause__ or "it did not answer a moment ago")}
    return {"state": "up", **figures({name: str(value) for name, value in info.items()}, None, 0.0)}


def _instances(shared: Services) -> list[Part] | None:
    try:
        found = shared.heartbeat.all()
    except StoreUnavailable:
        return None
    now = clock.now().timestamp()
    return [_row(record, now) for record in found]


def _own(shared: Services) -> Part:
    """What this instance knows of itself."""
    return _row(shared.heartbeat.describe(rates=False), clock.now().timestamp())


def _row(record: Part, now: float) -> Part:
    age = max(0.0, now - record["at"])
    state = record["state"]
    if state == "ready" and record.get("deaf"):
        state = "deaf"
    if age > LATE_SECONDS:
        state = "silent"
    return {**record, "state": state, "uptime": record["uptime"] + age}


def totals(rows: list[Part]) -> Part:
    """What all instances are and do together."""
    found: Part = {
        name: round(sum(row.get(name) or 0 for row in rows), 2)
        for name in (
            "requests_per_second",
            "errors_per_second",
            "in_flight",
            "websockets",
            "memory",
            "pool_in_use",
            "rooms",
        )
    }
    # Each has counted the events of the whole site; whoever spoke last knows best.
    latest = max(rows, key=lambda row: float(row["at"]), default={})
    found["events_per_second"] = latest.get("events_per_second")
    found["pool_size"] = sum(row.get("pool_size") or 0 for row in rows)
    found["instances"] = len(rows)
    found["ready"] = sum(row["state"] == "ready" for row in rows)
    found["hosts"] = len({row["host"] for row in rows})
    found["deaf"] = sum(row["state"] == "deaf" for row in rows)
    found["releases"] = dict(Counter(row["release"] for row in rows).most_common())
    return found


def backups(directory: Path) -> list[Part]:
    """What is known on this host of backups and of tests that restored one; each file is one of them."""
    found = []
    for file in sorted(directory.glob("*.json")) if directory.is_dir() else []:
        try:
            content = orjson.loads(file.read_bytes()) if file.stat().st_size <= LARGEST_FILE else None
        except (OSError, ValueError):
            content = None
        if isinstance(content, dict):
            plain = {str(name): value for name, value in content.items() if isinstance(value, str | int | float | bool)}
            found.append({"name": file.stem, "values": plain})
    return found


def _problems(state: dict[str, Any]) -> Iterator[tuple[str, str]]:
    database, redis = state["database"], state["redis"]
    if database["state"] == "busy":
        yield "PostgreSQL could not be asked", f"{database['why']}; look again in a moment"
        database = None
    yield from problems.services(database, redis)
    sums = state["totals"]
    for row in [row for row in state["instances"] if row["state"] != "ready"][:5]:
        yield f"{row['name']} on {row['host']} is {row['state']}", _MEANS.get(row["state"], _MEANS[""])
    if sums["errors_per_second"]:
        yield f"{sums['errors_per_second']:.1f} requests a second end in an error", "see ./hecto logs"
    if len(sums["releases"]) > 1:
        share = ", ".join(f"{name} on {count}" for name, count in sums["releases"].items())
        yield f"several releases run: {share}", "a roll is under way, or stopped half-way: see ./hecto status"


_MEANS = {
    "deaf": "its pages are not told what happens at the others; it listens anew by itself",
    "silent": "it hangs or was killed; see ./hecto status and ./hecto logs",
    "draining": "it finishes what it has in hand and leaves",
    "held": "it takes no traffic until a roll has looked at it",
    "": "it takes no requests at the moment",
}


def _first_line(error: object) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0].rsplit("failed: ", 1)[-1].removeprefix("FATAL: ").strip()[:200] if lines else type(error).__name__
