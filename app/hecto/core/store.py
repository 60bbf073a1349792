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
# Who is refused sooner has not waited in vain.
SOON = 0.1

# Of one process, beside the one that it listens on. Redis takes one command at a time anyway: more connections would
# only fill its list of clients, which the plan of a host counts with.
CONNECTIONS = 8

# What a Redis says that is no master any more, or not yet, or has no copy to write to. It goes on saying so to whoever
# stays connected; a new connection leads to the master.
NOT_THE_MASTER = ("READONLY", "NOREPLICAS", "MASTERDOWN", "LOADING", "UNBLOCKED")
# How long one of the copies may take to have an event, in milliseconds: less than the client waits for an answer.
COPIED = 400

# What a script begins with whose answer must not be from before a failover: the id that the copies of this Redis
# follow. It is another one after each start of a master and each change of the master, and a new master may lack the
# last that the one before was told. It costs two microseconds.
REIGN = """
local replication = redis.call('INFO', 'replication')
local reign = string.match(replication, 'master_replid:(%x+)')
"""

PROBE = "probe"
PROBE_LIFE = 60


class StoreUnavailable(Exception):
    """Redis gave no answer: go on without it."""


class NotCopied(redis.ResponseError):
    """No copy of the master has what was written: it may be one that the others have given up."""

    def __init__(self) -> None:
        super().__init__("NOREPLICAS no copy has it")


def is_not_the_master(error: redis.RedisError) -> bool:
    """Whether an error says that this Redis takes no writes, so that a connection to it is of no use."""
    kinds = (redis.exceptions.ReadOnlyError, redis.exceptions.MasterDownError, redis.exceptions.BusyLoadingError)
    return isinstance(error, kinds) or str(error).startswith(NOT_THE_MASTER)


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
        self._is_silent = False
        # Told that the Redis at the other end takes no writes: whoever else is connected to it had better not stay.
        self.left_master: Callable[[], None] = lambda: None

    def use(self, work: Callable[[redis.Redis], T], *, urgent: bool = False) -> T:
        """Run ``work`` with the client; raises StoreUnavailable when Redis does not answer or was just away.

        What is ``urgent`` is tried in the pause as well, unless Redis was silent: to be refused costs nothing.
        """
        now = time.monotonic()
        pausing = now < self._away_until
        if pausing and (self._is_silent or not urgent):
            raise StoreUnavailable
        trying = self._away_until > 0 and not pausing
        if trying:
            # This one looks whether Redis is back, and may wait in vain; for all others it stays away meanwhile.
            self._away_until = now + PAUSE
        try:
            result = work(self.client)
        except redis.RedisError as error:
            # Not only one that is gone: a full, a busy and a misconfigured one refuse by word, and are as good as away.
            ended = time.monotonic()
            self._away_until, self._is_silent = ended + PAUSE, ended - now > SOON
            self._leave(error)
            log.warning("Redis does not answer, going on without it for %.0f s: %s", PAUSE, error)
            raise StoreUnavailable from error
        if trying:
            self._away_until = 0.0
        return result

    def probe(self) -> None:
        """Ask Redis to keep something, past the pause: a full one reads and refuses. Raises what redis-py raises."""
        try:
            self.client.set(PROBE, b"", ex=PROBE_LIFE)
        except redis.RedisError as error:
            self._leave(error)
            raise
        self._away_until = 0.0

    def _leave(self, error: redis.RedisError) -> None:
        """Use no connection again that may lead to a Redis which is not the master any more."""
        # Those in use belong to others, who meet the same and come here.
        self.client.connection_pool.disconnect(inuse_connections=False)
        if is_not_the_master(error):
            self.left_master()


def copied(client: redis.Redis) -> None:
    """Wait until a copy has what this client's one connection wrote last; raises NotCopied, or what redis-py raises."""
    if not client.wait(1, COPIED):
        raise NotCopied
