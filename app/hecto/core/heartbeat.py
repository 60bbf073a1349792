"""What every instance says of itself, in Redis, for whoever wants to see all of them: a word each ten seconds.

Redis forgets it by itself when it is not said again, so what is there is what runs.
"""

from __future__ import annotations

import logging
import os
import random
import socket
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import gevent
import orjson
import redis

from hecto.core import clock
from hecto.core.db import Database
from hecto.core.instance import Instance
from hecto.core.store import Store, StoreUnavailable
from hecto.settings import Settings

log = logging.getLogger(__name__)

# Between two words, and how long one holds: two may be lost.
BEAT, HOLDS = 10.0, 35
# The names of all, with the moment of their last word; a name goes when nothing was said for an hour.
NAMES = "hecto:instances"
RECORD = "hecto:instance:"
FORGET = 3600.0
# More are not shown: as many as ten full hosts have.
MOST = 1000
# The number of the last event (realtime.stream.HEAD), whose growth is the rate of events.
EVENTS = ("hecto:events", "number")
_PAGE = os.sysconf("SC_PAGE_SIZE")


class Heartbeat:
    """Says how this process is, and hears of all the others."""

    def __init__(self, store: Store, instance: Instance, database: Database, settings: Settings) -> None:
        self._store, self._instance, self._database = store, instance, database
        # Among several hosts by the name that all else knows it by; the only one has been given none.
        self._host = settings.host or socket.gethostname()
        self._name = f"instance-{settings.instance}"
        self.name = f"{self._host}/{self._name}"
        self._greenlet: gevent.Greenlet | None = None
        # Of the word before: when, requests, errors, the number of the last event.
        self._before: tuple[float, int, int, int | None] | None = None
        self._events: int | None = None

    def start(self) -> None:
        """Begin, in the worker."""
        self._greenlet = gevent.spawn(self._run)

    def stop(self) -> None:
        """Take the own name away: who left is not missing."""
        if self._greenlet is None:
            return
        self._greenlet.kill()
        with suppress(StoreUnavailable):
            self._store.use(lambda client: client.delete(RECORD + self.name))

    def all(self) -> list[dict[str, Any]]:
        """The last word of every instance of the site, by host and number; raises StoreUnavailable."""
        return self._store.use(_read)

    def describe(self, *, rates: bool = True) -> dict[str, Any]:
        """The record of this moment; with rates since the one before, which only who speaks may ask for."""
        now, instance = time.monotonic(), self._instance
        before = self._before if rates else None
        if rates:
            self._before = (now, instance.requests, instance.errors, self._events)
        found = instance.describe()
        passed = now - before[0] if before else 0.0
        return {
            **{name: found[name] for name in ("state", "release", "uptime", "in_flight", "websockets")},
            "name": self._name,
            "host": self._host,
            "at": clock.now().timestamp(),
            "requests": found["requests"],
            "errors": found["errors"],
            "requests_per_second": _rate(instance.requests, before[1] if before else None, passed),
            "errors_per_second": _rate(instance.errors, before[2] if before else None, passed),
            "memory": resident(),
            "pool_in_use": self._database.pool.checkedout(),
            "pool_size": self._database.pool.size(),
            **instance.describe_live(),
            "events_per_second": _rate(self._events, before[3] if before else None, passed),
        }

    def _run(self) -> None:
        # Spread: a hundred instances that start together must not speak together ever after.
        gevent.sleep(random.uniform(0, 1))
        while True:
            record = self.describe()
            with suppress(StoreUnavailable):
                self._events = self._store.use(lambda client, record=record: self._say(client, record))  # type: ignore[misc]
            gevent.sleep(BEAT * random.uniform(0.9, 1.1))

    def _say(self, client: redis.Redis, record: dict[str, Any]) -> int | None:
        pipeline = client.pipeline(transaction=False)
        pipeline.set(RECORD + self.name, orjson.dumps(record), ex=HOLDS)
        pipeline.zadd(NAMES, {self.name: record["at"]})
        pipeline.zremrangebyscore(NAMES, "-inf", record["at"] - FORGET)
        pipeline.hget(*EVENTS)
        number = pipeline.execute()[-1]
        return int(number) if number is not None else None


def resident() -> int:
    """The memory of this process in bytes, with what it shares with its arbiter."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE


def _rate(now: int | None, before: int | None, passed: float) -> float | None:
    if now is None or before is None or passed <= 0:
        return None
    return round(max(0, now - before) / passed, 2)


def _read(client: redis.Redis) -> list[dict[str, Any]]:
    newest: Any = client.zrevrange(NAMES, 0, MOST - 1)
    names = [name.decode() for name in newest]
    if not names:
        return []
    kept = client.mget([RECORD + name for name in names])
    found = [orjson.loads(record) for record in kept if record is not None]
    return sorted(found, key=lambda record: (record["host"], len(record["name"]), record["name"]))
