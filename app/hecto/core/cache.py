"""Cached lists: finished JSON as bytes, invalidated by counting a version up.

A reader stores under the version it read before it asked the database. A change that commits in between has counted
the version up, so what the reader stored is never found again.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

from hecto.core.store import Store, StoreUnavailable

LIFE = 300

_LOOK_UP = """
local version = redis.call('GET', KEYS[1]) or '0'
return {version, redis.call('GET', KEYS[1] .. ':' .. version .. ':' .. ARGV[1])}
"""


class Caching(Protocol):
    """What readers need of a cache."""

    def get(self, topic: str, key: str, make: Callable[[], bytes]) -> bytes: ...

    def invalidate(self, topic: str) -> None: ...


class Uncached:
    """A cache that keeps nothing."""

    def get(self, topic: str, key: str, make: Callable[[], bytes]) -> bytes:
        """What ``make`` gives."""
        return make()

    def invalidate(self, topic: str) -> None:
        """Nothing is kept, so nothing has to go."""


class Cache:
    """The cache of one process; without Redis it always misses."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._look_up = store.client.register_script(_LOOK_UP)
        # Invalidations that Redis did not hear, told again before anything is read from it.
        self._untold: set[str] = set()

    def get(self, topic: str, key: str, make: Callable[[], bytes]) -> bytes:
        """The bytes cached for ``key`` of a topic, or those that ``make`` gives, kept for five minutes."""
        try:
            self._tell_untold()
            version, found = self._store.use(
                lambda client: self._look_up(keys=[f"cache:{topic}"], args=[key], client=client)
            )
        except StoreUnavailable:
            return make()
        if found is not None:
            return bytes(found)
        value = make()
        name = f"cache:{topic}:{version.decode()}:{key}"
        # The answer is right without being cached, and the store has logged that Redis is away.
        with suppress(StoreUnavailable):
            self._store.use(lambda client: client.set(name, value, ex=LIFE))
        return value

    def invalidate(self, topic: str) -> None:
        """Let nobody find anything that was cached of the topic so far; call it after the commit."""
        self._untold.add(topic)
        # Without Redis it stays in _untold; nobody else can read Redis either while it is away.
        with suppress(StoreUnavailable):
            self._tell_untold()

    def _tell_untold(self) -> None:
        while self._untold:
            topic = next(iter(self._untold))
            self._store.use(lambda client, topic=topic: client.incr(f"cache:{topic}"))  # type: ignore[misc]
            self._untold.discard(topic)
