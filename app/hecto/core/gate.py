"""The gate of every request: who is it, and may they ask this often? One round trip to Redis answers both.

The truth about sign-ins is in PostgreSQL; Redis holds a copy for a minute. Without Redis the gate reads PostgreSQL
and counts in this process, so that requests go on.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection
from dataclasses import asdict, dataclass, fields
from functools import lru_cache
from typing import Any

import orjson
import redis

from hecto.core import clock
from hecto.core.errors import SessionEnded, TooManyRequests
from hecto.core.permissions import Actor
from hecto.core.security import Tokens, digest, same, session_parts
from hecto.core.store import REIGN, Store, StoreUnavailable

WINDOW = 60
# How long a sign-in may be remembered without looking it up again: the longest that a revocation can go unnoticed
# if Redis was away at the very moment it should have been told.
REMEMBER = 60
# A revoked session stays marked for longer than any reader that saw it valid could take to remember it; a changed one
# is looked up anew for as long as a reader may hold what it read before the change.
TOMBSTONE = 2 * REMEMBER
CHANGED = 10
ACTIVE_USERS = "active-users"
ACTIVE_SECONDS = 300

# A copy from before a failover counts no more: the new master may not know that the sign-in ended since.
_ADMIT = (
    REIGN
    + """
local found = redis.call('HMGET', KEYS[1], 'user', 'record', 'reign')
if not found[1] or found[1] == '?' then return {} end
if found[1] == '' then return {''} end
if found[3] ~= reign then return {} end
local key = 'limit:' .. found[1]
local count, left = redis.call('INCR', key), redis.call('TTL', key)
if left < 0 then
    -- A new one; or one that lost its end, as was seen after Redis had been killed: it would refuse somebody for ever.
    count, left = 1, tonumber(ARGV[1])
    redis.call('SET', key, count, 'EX', left)
end
redis.call('ZADD', KEYS[2], ARGV[2], found[1])
return {found[2], count, left}
"""
)

# Only where nothing stands: neither a newer copy nor the mark of a changed or revoked session is ever overwritten.
_REMEMBER = (
    REIGN
    + """
local found = redis.call('HMGET', KEYS[1], 'record', 'reign')
if redis.call('EXISTS', KEYS[1]) == 0 or (found[1] and found[2] ~= reign) then
    redis.call('HSET', KEYS[1], 'user', ARGV[1], 'record', ARGV[2], 'reign', reign)
    redis.call('EXPIRE', KEYS[1], ARGV[3])
end
"""
)

_LOOK = (
    REIGN
    + """
local found = redis.call('HMGET', KEYS[1], 'user', 'record', 'reign')
return {found[1], found[3] == reign and found[2]}
"""
)


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a request brought along: a session id, and for a browser the secret of its cookie."""

    session_id: str
    secret: str | None
    user_id: int | None
    # When an access token runs out, in seconds since 1970.
    ends: float = math.inf


@dataclass(frozen=True, slots=True)
class SessionRecord:
    """A sign-in that stands, with all that a request needs to know of its user."""

    session_id: str
    kind: str
    secret_digest: str
    expires_at: float
    user_id: int
    name: str
    email: str
    permissions: list[str]


@dataclass(frozen=True, slots=True)
class Allowance:
    """How many requests this user may still make, and in how many seconds the count starts anew."""

    limit: int
    remaining: int
    reset: int

    def headers(self) -> list[tuple[str, str]]:
        """draft-ietf-httpapi-ratelimit-headers."""
        return [
            ("RateLimit-Policy", f'"user";q={self.limit};w={WINDOW}'),
            ("RateLimit", f'"user";r={self.remaining};t={self.reset}'),
        ]


class LocalLimiter:
    """Counts in this process while Redis is away: a fleet of a hundred then allows more, but never without bound."""

    # As many are counted; then the oldest is forgotten, as if its time were over.
    MOST = 10_000

    def __init__(self) -> None:
        self._counts: dict[str, tuple[int, float]] = {}

    def count(self, key: str, window: int = WINDOW) -> tuple[int, int]:
        """Count one more use of the key; returns the count and the seconds until it starts anew."""
        now = time.monotonic()
        used, ends = self._counts.get(key, (0, 0.0))
        if ends <= now:
            used, ends = 0, now + window
            # The newest goes to the end, so the first is the one that runs out first.
            self._counts.pop(key, None)
            if len(self._counts) >= self.MOST:
                del self._counts[next(iter(self._counts))]
        self._counts[key] = (used + 1, ends)
        return used + 1, int(ends - now) + 1

    def forget(self, key: str) -> None:
        """Start the count of the key anew."""
        self._counts.pop(key, None)


class Gate:
    """Turns credentials into an Actor and keeps each user's rate."""

    def __init__(
        self, store: Store, tokens: Tokens, load: Callable[[str], SessionRecord | None], per_minute: int
    ) -> None:
        self._store = store
        self._tokens = tokens
        self._load = load
        self._per_minute = per_minute
        self._local = LocalLimiter()
        self._admit = store.client.register_script(_ADMIT)
        self._remember = store.client.register_script(_REMEMBER)
        self._look = store.client.register_script(_LOOK)

    def credentials(self, bearer: str | None, cookie: str | None) -> Credentials | None:
        """Read credentials out of an access token or a cookie; None when there are none. A token goes first."""
        if bearer is not None:
            token = self._tokens.check(bearer)
            return Credentials(token.session_id, None, token.user_id, token.expires)
        parts = session_parts(cookie) if cookie else None
        return Credentials(*parts, None) if parts else None

    def admit(self, credentials: Credentials) -> tuple[Actor, Allowance]:
        """The Actor behind the credentials, and what is left of its rate.

        Raises SessionEnded for a session that has ended or does not fit, TooManyRequests with the seconds to wait.
        """
        try:
            record, count, reset = self._from_store(credentials.session_id)
        except StoreUnavailable:
            record = self._load(credentials.session_id)
            count, reset = self._local.count(f"user:{record.user_id}") if record else (0, 0)
        actor = self._check(record, credentials)
        allowance = Allowance(self._per_minute, max(0, self._per_minute - count), reset)
        if count > self._per_minute:
            detail = f"You may make {self._per_minute} requests a minute. Try again in {reset} seconds."
            raise TooManyRequests(detail, reset, allowance.headers())
        return actor, allowance

    def stands(self, actor: Actor) -> bool:
        """Whether a sign-in that was admitted a moment ago has neither ended nor changed since."""
        try:
            found = self._store.use(lambda client: self._look(keys=[_key(actor.session_id)], client=client))
        except StoreUnavailable:
            # Whoever ends one now cannot say so either; who remembers it forgets it after a minute.
            return True
        user, record = found
        if user in (b"", b"?"):
            # It may have changed just before, and have been loaded anew.
            loaded = self._load(actor.session_id) if user else None
        else:
            loaded = _record(record) if record else self._load(actor.session_id)
        return loaded is not None and frozenset(loaded.permissions) == actor.permissions

    def forget(self, session_id: str, *, revoked: bool) -> None:
        """Make every instance look this session up again, or refuse it at once when it was revoked.

        Raises StoreUnavailable.
        """

        def mark(client: redis.Redis) -> None:
            pipeline = client.pipeline(transaction=True)
            pipeline.delete(_key(session_id))
            pipeline.hset(_key(session_id), "user", "" if revoked else "?")
            pipeline.expire(_key(session_id), TOMBSTONE if revoked else CHANGED)
            pipeline.execute()

        self._store.use(mark)

    def seen(self, users: Collection[int]) -> None:
        """Users have a page open, with or without requests; raises StoreUnavailable."""
        if users:
            now = int(clock.now().timestamp())
            self._store.use(lambda client: client.zadd(ACTIVE_USERS, dict.fromkeys(map(str, users), now)))

    def active_users(self) -> int:
        """How many users were here within the last five minutes, on any instance; raises StoreUnavailable."""

        def count(client: redis.Redis) -> int:
            pipeline = client.pipeline(transaction=False)
            pipeline.zremrangebyscore(ACTIVE_USERS, 0, clock.now().timestamp() - ACTIVE_SECONDS)
            pipeline.zcard(ACTIVE_USERS)
            return int(pipeline.execute()[1])

        return self._store.use(count)

    def _from_store(self, session_id: str) -> tuple[SessionRecord | None, int, int]:
        found = self._store.use(lambda client: self._ask(session_id, client))
        if not found:
            loaded = self._load(session_id)
            if loaded is None:
                return None, 0, 0
            self._store.use(lambda client: self._keep(loaded, client))
            found = self._store.use(lambda client: self._ask(session_id, client))
            if not found:
                # It changed a moment ago and is not to be remembered yet.
                return loaded, *self._local.count(f"user:{loaded.user_id}")
        if not found[0]:
            return None, 0, 0
        return _record(found[0]), int(found[1]), max(1, int(found[2]))

    def _ask(self, session_id: str, client: redis.Redis) -> list[Any]:
        keys = [_key(session_id), ACTIVE_USERS]
        return list(self._admit(keys=keys, args=[WINDOW, int(clock.now().timestamp())], client=client))

    def _keep(self, record: SessionRecord, client: redis.Redis) -> None:
        args: list[int | bytes] = [record.user_id, orjson.dumps(asdict(record)), REMEMBER]
        self._remember(keys=[_key(record.session_id)], args=args, client=client)

    def _check(self, record: SessionRecord | None, credentials: Credentials) -> Actor:
        if record is None or record.expires_at <= clock.now().timestamp():
            raise SessionEnded
        if credentials.secret is None:
            fits = record.kind == "api" and record.user_id == credentials.user_id
        else:
            fits = record.kind == "browser" and same(record.secret_digest, digest(credentials.secret))
        if not fits:
            raise SessionEnded
        permissions = _permissions(tuple(record.permissions))
        return Actor(record.user_id, record.name, record.email, permissions, record.session_id, record.expires_at)


def _key(session_id: str) -> str:
    return f"session:{session_id}"


@lru_cache(maxsize=1000)
def _permissions(names: tuple[str, ...]) -> frozenset[str]:
    """One set for all who may the same: ten thousand sockets hold theirs for hours."""
    return frozenset(names)


def _record(content: bytes | str) -> SessionRecord:
    """The record that some release wrote; what only a newer one knows is left out."""
    values = orjson.loads(content)
    return SessionRecord(**{name: values[name] for name in _RECORD_FIELDS if name in values})


_RECORD_FIELDS = tuple(field.name for field in fields(SessionRecord))
