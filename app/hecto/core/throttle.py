"""Throttles for what must not be tried often, such as passwords: counted in Redis, without it in this process."""

from __future__ import annotations

import redis

from hecto.core import logs
from hecto.core.errors import TooManyRequests
from hecto.core.gate import LocalLimiter
from hecto.core.store import Store, StoreUnavailable


class Throttle:
    """Counts attempts before they are made, so that many at once cannot slip by the limit together."""

    def __init__(self, store: Store, window: int) -> None:
        self._store = store
        self._window = window
        self._local = LocalLimiter()

    def take(self, key: str, most: int, what: str) -> None:
        """Count an attempt; raises TooManyRequests when there were ``most`` within the window already."""
        try:
            used, left = self._store.use(lambda client: self._count(client, key))
        except StoreUnavailable:
            used, left = self._local.count(key, self._window)
        if used > most:
            logs.security.warning("too many attempts", extra=logs.fields(counted_as=key))
            minutes = max(1, round(left / 60))
            raise TooManyRequests(f"Too many {what}. Try again in {minutes} minutes.", max(1, left))

    def clear(self, *keys: str) -> None:
        """Forget the attempts under these keys; without Redis they run out by themselves."""
        for key in keys:
            self._local.forget(key)
        try:
            self._store.use(lambda client: client.delete(*keys))
        except StoreUnavailable:
            return

    def _count(self, client: redis.Redis, key: str) -> tuple[int, int]:
        pipeline = client.pipeline(transaction=False)
        pipeline.incr(key)
        pipeline.expire(key, self._window, nx=True)
        pipeline.ttl(key)
        used, _, left = pipeline.execute()
        return int(used), int(left)
