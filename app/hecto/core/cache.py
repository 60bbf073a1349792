"""Cached lists: finished JSON as bytes, invalidated by counting a version up.

A reader stores with the version it read before it asked the database. A change that commits in between has counted
the version up, so what the reader stored is never given to anybody. The next reader overwrites it: what is kept grows
with the number of keys, not with the number of changes. Redis is small, so callers give few keys: none that a client
can make up.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

import redis

from hecto.core.store import REIGN, Store, StoreUnavailable

LIFE = 300
# Longer values are made anew each time.
LARGEST = 64 * 1024

# A master that came after a failover may not know of the last change: what is from before it counts no more.
_LOOK_UP = (
    REIGN
    + """
local version = reign .. ':' .. (redis.call('GET', KEYS[1]) or '0')
local kept = redis.call('HMGET', KEYS[1] .. ':' .. ARGV[1], 'version', 'value')
return {version, kept[1] == version and kept[2]}
"""
)


class Caching(Protocol):
    """What readers need of a cache."""

    def get(self, topic: str, key: str, make: Callable[[], bytes]) -> bytes: ...


class Uncached:
    """A cache that keeps nothing."""

    def get(self, topic: str, key: str, make: Callable[[], bytes]) -> bytes:
        """What ``make`` gives."""
        return make()


class Cache:
    """The cache of one process; without Redis it always misses."""

    def __init__(self, store: Store, release: str) -> None:
        self._store = store
        # Two releases that serve side by side may make the same list in two ways.
        self._release = release
        self._look_up = store.client.register_script(_LOOK_UP)
        # What Redis could not be told to forget: nothing of it is read there until it was told.
        self._untold: set[str] = set()

    def get(self, topic: str, key: str, make: Callable[[], bytes]) -> bytes:
        """The bytes cached for ``key`` of a topic, or those that ``make`` gives, kept for five minutes."""
        if topic in self._untold:
            return make()
        own = f"{self._release}:{key}"
        try:
            version, found = self._store.use(
                lambda client: self._look_up(keys=[f"cache:{topic}"], args=[own], client=client)
            )
        except StoreUnavailable:
            return make()
        if found is not None:
            return bytes(found)
        value = make()
        if len(value) <= LARGEST:
            # The answer is right without being cached, and the store has logged that Redis is away.
            with suppress(StoreUnavailable):
                self._store.use(lambda client: _keep(client, f"cache:{topic}:{own}", version, value))
        return value

    def invalidate(self, topic: str) -> None:
        """Let nobody find anything that was cached of the topic so far; raises StoreUnavailable."""
        self._untold.add(topic)
        # Also in the pause after a restart: others may be back before us, and keep what they read before this change.
        self._store.use(lambda client: client.incr(f"cache:{topic}"), urgent=True)
        self._untold.discard(topic)


def _keep(client: redis.Redis, name: str, version: bytes, value: bytes) -> None:
    pipeline = client.pipeline(transaction=False)
    pipeline.hset(name, mapping={"version": version, "value": value})
    pipeline.expire(name, LIFE)
    pipeline.execute()
