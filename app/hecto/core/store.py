"""Redis, as something that may be away: every use is bounded in time and says when there was no answer."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any, TypeVar

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from hecto.settings import Settings

T = TypeVar("T")
log = logging.getLogger(__name__)

# A local Redis answers in well under a millisecond; what takes longer is away, and waiting for it costs each request.
TIMEOUT = 0.5
# After a failure Redis is left alone for this long, so that an outage costs one timeout a second, not one a request.
PAUSE = 1.0

# Of one process, beside the one that it listens on. Redis takes one command at a time anyway: more connections would
# only fill its list of clients, which the plan of a host counts with.
CONNECTIONS = 8

PROBE = "probe"
PROBE_LIFE = 60


class StoreUnavailable(Exception):
    """Redis gave no answer: go on without it."""


def connection_options(settings: Settings) -> dict[str, Any]:
    """Keyword arguments for a pool of connections to this site's Redis."""
    options: dict[str, Any] = {
        "username": settings.redis_user,
        "password": settings.redis_password,
        "socket_timeout": TIMEOUT,
        "socket_connect_timeout": TIMEOUT,
    }
    if settings.redis_socket:
        return {**options, "connection_class": redis.UnixDomainSocketConnection, "path": settings.redis_socket}
    return {**options, "host": settings.redis_host, "port": settings.redis_port}


class Store:
    """The Redis client of one process."""

    def __init__(self, settings: Settings) -> None:
        self.client = redis.Redis.from_pool(
            redis.BlockingConnectionPool(  # type: ignore[no-untyped-call]
                **connection_options(settings),
                # One repeat at once: the pooled connection may be from before a restart of Redis.
                retry=Retry(NoBackoff(), 1),
                max_connections=CONNECTIONS,
                timeout=TIMEOUT,
            )
        )
        self._away_until = 0.0

    def use(self, work: Callable[[redis.Redis], T]) -> T:
        """Run ``work`` with the client; raises StoreUnavailable when Redis does not answer or was just away."""
        now = time.monotonic()
        if now < self._away_until:
            raise StoreUnavailable
        trying = self._away_until > 0
        if trying:
            # This one looks whether Redis is back, and may wait in vain; for all others it stays away meanwhile.
            self._away_until = now + PAUSE
        try:
            result = work(self.client)
        except redis.RedisError as error:
            # Not only one that is gone: a full, a busy and a misconfigured one refuse by word, and are as good as away.
            self._away_until = time.monotonic() + PAUSE
            log.warning("Redis does not answer, going on without it for %.0f s: %s", PAUSE, error)
            raise StoreUnavailable from error
        if trying:
            self._away_until = 0.0
        return result

    def probe(self) -> None:
        """Ask Redis to keep something, past the pause: a full one reads and refuses. Raises what redis-py raises."""
        self.client.set(PROBE, b"", ex=PROBE_LIFE)
        self._away_until = 0.0
