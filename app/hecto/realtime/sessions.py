"""Sessions: what a client that lost its connection takes up again, at whatever instance it comes to.

One is written to Redis when it begins and whenever its rooms change, not when its connection ends: an instance that is
killed, or does not know yet that its client is gone, has nothing left to say. Whoever takes a session up raises its
generation, which the connection before, if there is one, hears of and goes.
"""

from __future__ import annotations

import math
import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

from hecto.core.permissions import Actor
from hecto.core.store import Store
from hecto.realtime.broadcast import Broadcast, Form
from hecto.realtime.stream import HEAD, Position, Script

SESSION = "hecto:socket:"
# What one instance alone hears: that a session of its own was taken up elsewhere, and its own beat.
INSTANCE = "hecto:instance:"
# Seconds that a client has to come back.
WINDOW = 120
# Between two words that a session still has a connection.
KEEP = 30
# So a session outlives its connection by the window at least, however its instance ends, and also if one of the words
# was left out, since a ping had not been answered yet.
LIFE = WINDOW + 2 * KEEP + 15

# For so long may a client come back again and again without having answered: its connection may break each time before
# it hears what it missed, and streams keep that for stream.LIFE, 300 s. It answers every 25 s.
SILENT = 240
# Sessions in one call of a script.
AT_ONCE = 500

_PID = re.compile(r"[A-Za-z0-9_-]{24}")

_OPEN = """
if tonumber(redis.call('HGET', KEYS[2], 'generation') or '0') > tonumber(ARGV[4]) then return false end
local number = redis.call('HGET', KEYS[1], 'number') or '0'
redis.call('DEL', KEYS[2])
redis.call('HSET', KEYS[2], 'epoch', epoch, 'sid', ARGV[1], 'user', ARGV[2], 'owner', ARGV[3],
    'generation', ARGV[4], 'strict', ARGV[5], 'heard', redis.call('TIME')[1])
for place = 7, #ARGV, 2 do
    local since = ARGV[place + 1]
    if since == '' then since = number end
    redis.call('HSET', KEYS[2], 'room:' .. ARGV[place], since)
end
redis.call('EXPIRE', KEYS[2], ARGV[6])
return number
"""

_CLAIM = """
local kept = redis.call('HMGET', KEYS[2], 'user', 'epoch', 'owner', 'sid', 'heard')
if kept[1] ~= ARGV[1] or kept[2] ~= epoch then return false end
if redis.call('TIME')[1] - (kept[5] or 0) > tonumber(ARGV[5]) then return false end
local generation = redis.call('HINCRBY', KEYS[2], 'generation', 1)
redis.call('HSET', KEYS[2], 'owner', ARGV[2])
redis.call('EXPIRE', KEYS[2], ARGV[3])
redis.call('PUBLISH', ARGV[4] .. kept[3], 'taken\\n' .. kept[4] .. '\\n' .. generation)
return {redis.call('HGETALL', KEYS[2]), redis.call('HGET', KEYS[1], 'number') or '0'}
"""

_JOIN = """
if redis.call('HGET', KEYS[2], 'generation') ~= ARGV[1] then return false end
local number = redis.call('HGET', KEYS[1], 'number') or '0'
redis.call('HSET', KEYS[2], 'room:' .. ARGV[2], number)
return number
"""

_KEEP = """
local lost = {}
for place = 2, #KEYS do
    if redis.call('EXISTS', KEYS[place]) == 1 then
        redis.call('HSET', KEYS[place], 'heard', redis.call('TIME')[1])
        redis.call('EXPIRE', KEYS[place], ARGV[1])
    else
        lost[#lost + 1] = place - 2
    end
end
return lost
"""

# Changes only what is still one's own.
_LEAVE = """
if redis.call('HGET', KEYS[2], 'generation') == ARGV[1] then redis.call('HDEL', KEYS[2], 'room:' .. ARGV[2]) end
"""
_END = """
if redis.call('HGET', KEYS[2], 'generation') == ARGV[1] then redis.call('DEL', KEYS[2]) end
"""


class Connection(Protocol):
    """What a session needs of the engine's connection."""

    sid: str
    # Whether a session has it, and whether it has answered its last ping.
    admitted: bool
    answers: bool

    def pass_on(self, form: Form) -> None:
        """Send an event; to a connection that has ended, nothing happens."""

    def close(self, wait: bool, abort: bool, reason: str) -> None:
        """End it."""


@dataclass(slots=True, eq=False)
class Session:
    """One client, over all of its connections."""

    sid: str
    actor: Actor
    # What it is connected by, since it was let in.
    connection: Connection = field(init=False)
    # Private to the client: who shows it takes the session up. None for one that does not recover.
    pid: str | None = None
    generation: int = 1
    # The rooms it is in, each with the number of the last event before it came.
    rooms: dict[str, int] = field(default_factory=dict)
    # Whether the client must name an offset of this epoch: something before it may have passed it by.
    strict: bool = False
    # The last event that it got while it took up the session; this instance may hear it once more.
    seen: int = 0
    # What it is to hear when it has been told that it is connected; None from then on.
    held: list[Broadcast] | None = field(default_factory=list)
    # Another instance has it now.
    taken: bool = False
    # When its access token runs out, if it came with one, in seconds since 1970.
    until: float = math.inf


def new_pid() -> str:
    """What only the client knows: 144 bits."""
    return secrets.token_urlsafe(18)


def is_pid(said: object) -> bool:
    """Whether it can be one, before anybody looks for it."""
    return isinstance(said, str) and _PID.fullmatch(said) is not None


class Sessions:
    """The sessions in Redis; every method raises StoreUnavailable."""

    def __init__(self, store: Store, instance: str) -> None:
        self._store = store
        self._instance = instance
        self._open, self._claim, self._keep = Script(_OPEN), Script(_CLAIM), Script(_KEEP)
        self._join, self._leave, self._end = Script(_JOIN), Script(_LEAVE), Script(_END)

    def open(self, session: Session, rooms: Mapping[str, int | None]) -> None:
        """Write a session, unless another one has taken it up; each room begins behind a number, by default now."""
        begins = {room: "" if since is None else since for room, since in rooms.items()}
        pairs = (part for begin in begins.items() for part in begin)
        whose = (session.sid, session.actor.id, self._instance, session.generation, int(session.strict))
        number = self._run(self._open, session, [*whose, LIFE, *pairs])
        if number is not None:
            session.rooms.update({room: int(number) if since is None else since for room, since in rooms.items()})

    def claim(self, pid: str, actor: Actor) -> tuple[Session, Position] | None:
        """Take a session up; None for one that is not there, is somebody else's, or is of an earlier epoch."""
        arguments = [actor.id, self._instance, LIFE, INSTANCE, SILENT]
        found = self._store.use(lambda client: self._claim(client, [HEAD, SESSION + pid], arguments))
        if found is None:
            return None
        flat, number = found
        kept = {name.decode(): value.decode() for name, value in zip(flat[::2], flat[1::2], strict=True)}
        rooms = {name.removeprefix("room:"): int(since) for name, since in kept.items() if name.startswith("room:")}
        session = Session(kept["sid"], actor, pid, int(kept["generation"]), rooms, strict=kept["strict"] == "1")
        return session, Position(kept["epoch"], int(number))

    def join(self, session: Session, room: str) -> int | None:
        """Have a session come back to a room as well; the number of the last event, None if it was taken up."""
        number = self._run(self._join, session, [session.generation, room])
        return None if number is None else int(number)

    def leave(self, session: Session, room: str) -> None:
        """Have a session not come back to a room."""
        self._run(self._leave, session, [session.generation, room])

    def end(self, session: Session) -> None:
        """Have nobody take it up any more."""
        self._run(self._end, session, [session.generation])

    def keep(self, sessions: Sequence[Session]) -> list[Session]:
        """Have Redis keep sessions whose clients are there; those that it has lost."""
        lost = []
        for first in range(0, len(sessions), AT_ONCE):
            some = sessions[first : first + AT_ONCE]
            keys = [HEAD, *(f"{SESSION}{session.pid}" for session in some)]
            places = self._store.use(partial(self._keep, keys=keys, arguments=[LIFE]))
            lost += [some[place] for place in places]
        return lost

    def _run(self, script: Script, session: Session, arguments: Sequence[str | int]) -> Any:
        keys = [HEAD, f"{SESSION}{session.pid}"]
        return self._store.use(lambda client: script(client, keys, arguments))
