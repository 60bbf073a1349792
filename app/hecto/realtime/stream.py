"""The events of all rooms, in Redis: one order for all of them, and for each room a channel and a stream.

One call of a script gives events their numbers, keeps them and tells them, so their order is the same for everybody:
for who hears them now and for who asks later what was missed. A stream is short-lived: it is there for clients that
come back, not for history.

Numbers are worth nothing without the epoch that they belong to. A Redis that started anew may have lost the last of
what it had told, and would give the same numbers again; so may a copy that was made the master. So each reign begins an
epoch: the time from the start of a Redis, or from its becoming the master, to its end as one. Redis names its reigns
itself, by the id that its copies follow, and every script looks whether it still works in the one of the numbers.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import orjson
import redis
from redis.exceptions import NoScriptError, ResponseError

from hecto.core import clock
from hecto.core.outbox import Message
from hecto.core.store import REIGN, Store, copied
from hecto.realtime.broadcast import Broadcast, content_of

# The channel and the stream of a room.
ROOM = "hecto:events:"
# Everybody is in it. What concerns everybody is rare: every instance hears it.
EVERYBODY = "everybody"
# The reign of Redis, the epoch, and the number of the last event.
HEAD = "hecto:events"
# What was deployed last, and when; for those who were not there to hear of it.
ANNOUNCED = "hecto:announced"
RELEASE_NEW = "release.new"

# Seconds that the events of a room are kept after the last one: who is away for longer than a session is kept
# (sessions.LIFE, 195 s) cannot ask for them, and who is gone without a word is noticed after 65 s at the latest.
LIFE = 300
# As many events of a room are kept, and up to a hundred more: Redis takes them away in larger pieces.
LENGTH = 1000
# Of all rooms together, as much is told to somebody who comes back; who missed more looks at everything anew, which
# costs him less, and Redis and everybody who waits for it.
MOST, MOST_BYTES = 4_000, 8_000_000
# Events in one call of the script, a few milliseconds for which Redis does nothing else.
AT_ONCE = 500

_BEGIN = (
    REIGN
    + """
if redis.call('HGET', KEYS[1], 'reign') ~= reign then
    redis.call('HSET', KEYS[1], 'reign', reign, 'epoch', ARGV[1])
end
return {reign, redis.call('HMGET', KEYS[1], 'epoch', 'number')}
"""
)

# What every script begins with, so that none works on numbers of no epoch.
_EPOCH = (
    REIGN
    + """
local begun = redis.call('HMGET', KEYS[1], 'reign', 'epoch')
if begun[1] ~= reign then return redis.error_reply('NOEPOCH there is none') end
local epoch = begun[2]
"""
)

_PUBLISH = """
local number = redis.call('HINCRBY', KEYS[1], 'number', #KEYS - 1) - #KEYS + 1
for place = 2, #KEYS do
    number = number + 1
    redis.call('XADD', KEYS[place], 'MAXLEN', '~', ARGV[1], number .. '-0', 'e', ARGV[place + 1])
    redis.call('EXPIRE', KEYS[place], ARGV[2])
    redis.call('PUBLISH', KEYS[place], epoch .. '-' .. number .. '\\n' .. ARGV[place + 1])
end
return string.find(replication, 'min_slaves_good_slaves', 1, true) and 1 or 0
"""

# Redis cuts a stream down to the length it is told, never below: a shorter one is whole.
_AFTER = """
if epoch ~= ARGV[1] then return false end
local found, bytes = {}, 0
for place = 2, #KEYS do
    local after = ARGV[place + 3]
    if redis.call('XLEN', KEYS[place]) >= tonumber(ARGV[2]) then
        local first = redis.call('XRANGE', KEYS[place], '-', '+', 'COUNT', 1)[1][1]
        if tonumber(string.match(first, '%d+')) > tonumber(after) then return false end
    end
    for _, entry in ipairs(redis.call('XRANGE', KEYS[place], '(' .. after .. '-0', '+')) do
        found[#found + 1] = {place - 2, entry[1], entry[2][2]}
        bytes = bytes + #entry[2][2]
    end
    if #found > tonumber(ARGV[3]) or bytes > tonumber(ARGV[4]) then return false end
end
return found
"""


class Position(NamedTuple):
    """A place in the order of all events."""

    epoch: str
    number: int


def position_of(offset: object) -> Position | None:
    """What a client says it has seen last; None for what is no offset."""
    if not isinstance(offset, str) or len(offset) > 40:
        return None
    epoch, _, number = offset.partition("-")
    return Position(epoch, int(number)) if epoch and number.isascii() and number.isdigit() else None


class Script:
    """A script that works on the numbers of an epoch: its first key is HEAD, and it finds `epoch` set."""

    def __init__(self, text: str) -> None:
        self._text = _EPOCH + text
        self._digest = ""

    def __call__(self, client: redis.Redis, keys: Sequence[str], arguments: Sequence[Any]) -> Any:
        """Run it, in a new epoch if Redis has forgotten it or its own; raises what redis-py raises."""
        if self._digest:
            try:
                return client.evalsha(self._digest, len(keys), *keys, *arguments)
            except NoScriptError:
                # A new Redis, or another one.
                pass
            except ResponseError as error:
                if not str(error).startswith("NOEPOCH"):
                    raise
        begin(client)
        self._digest = client.script_load(self._text)
        return client.evalsha(self._digest, len(keys), *keys, *arguments)


def begin(client: redis.Redis) -> tuple[str, Position]:
    """The reign, and the position of the last event, in a new epoch if it is a new one; raises what redis-py raises."""
    reign, (epoch, number) = client.eval(_BEGIN, 1, HEAD, secrets.token_hex(4))
    return reign.decode(), Position(epoch.decode(), int(number or 0))


class Stream:
    """Sends events to rooms, from any process: instances, workers, scripts. It needs no Socket.IO server."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._publish = Script(_PUBLISH)
        self._after = Script(_AFTER)
        # Whether Redis has copies that must have an event before it counts as told; Redis says so each time.
        self._has_copies = True

    def send(self, messages: Sequence[Message]) -> None:
        """Send events to their rooms, in this order; raises StoreUnavailable.

        In one round trip, unless they are very many.
        """
        for first in range(0, len(messages), AT_ONCE):
            some = messages[first : first + AT_ONCE]
            self._store.use(partial(self._send, messages=some))

    def _send(self, client: redis.Redis, messages: Sequence[Message]) -> None:
        keys = [HEAD, *(ROOM + message.room for message in messages)]
        arguments = [LENGTH, LIFE, *(content_of(message) for message in messages)]
        if not self._has_copies:
            self._has_copies = bool(self._publish(client, keys, arguments))
            return
        # A master that the others have given up tells those that are still connected to it, and nobody else ever:
        # what it told must be told again. It knows what one connection wrote, so it is asked on the same one.
        with client.client() as one:  # type: ignore[no-untyped-call]
            self._has_copies = bool(self._publish(one, keys, arguments))
            if self._has_copies:
                copied(one)

    def after(self, client: redis.Redis, epoch: str, rooms: Mapping[str, int]) -> list[Broadcast] | None:
        """The events behind a number, for each room its own, in their order, each with its room.

        None when some of them are gone, or the epoch is. Raises what redis-py raises.
        """
        names = list(rooms)
        keys = [HEAD, *(ROOM + room for room in names)]
        found = self._after(client, keys, [epoch, LENGTH, MOST, MOST_BYTES, *rooms.values()])
        if found is None:
            return None
        told = [Broadcast(names[place], epoch, int(entry.split(b"-")[0]), content) for place, entry, content in found]
        return sorted(told, key=lambda broadcast: broadcast.number)

    def announce(self, release: str) -> bool:
        """Tell all open pages, and those that come later, which release has been deployed; says whether that is news.

        For a process that does nothing else: it raises what redis-py raises.
        """
        told = {"release": release, "at": clock.now().timestamp()}
        # First kept, then told: whoever connects meanwhile may hear of it twice, never not at all.
        before = self._store.client.set(ANNOUNCED, orjson.dumps(told), get=True)
        self._send(self._store.client, [Message(EVERYBODY, RELEASE_NEW, told)])
        return before is None or orjson.loads(before)["release"] != release  # type: ignore[arg-type]
