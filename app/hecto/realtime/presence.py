"""Who is here, and who looks at which record: in Redis, for as long as somebody says so.

What an instance that was killed has said runs out by itself. Changes are gathered for a moment, so that a thousand
clients that come back at once cost a few commands.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable
from functools import partial
from typing import Any

import gevent
import orjson
import redis
from gevent.event import Event

from hecto.core import clock
from hecto.core.live import OWN_KINDS
from hecto.core.outbox import Message
from hecto.core.store import Store, StoreUnavailable
from hecto.realtime.sessions import Session
from hecto.realtime.stream import EVERYBODY

PRESENT = "hecto:present:"
# Sent to a room whose company changed.
PRESENCE = "presence"
# Between two words that somebody is still there, and how long one holds.
SAY, HOLDS = 30, 75
# How long changes are gathered.
GATHER = 0.2
# As many people are named; of more, nobody reads the names.
MOST_NAMED = 50
# As many words are read to find them: of a room with more people, those who said so last are named.
MOST_READ = 1000
# How long an instance remembers who is here at all: however many pages ask, it asks Redis this seldom, in seconds.
FRESH = 2.0

Person = tuple[int, str]


class Presence:
    """The people of one instance, told to all of them."""

    def __init__(
        self,
        store: Store,
        instance: str,
        send: Callable[[list[Message]], None],
        seen: Callable[[Collection[int]], None],
    ) -> None:
        """`seen` is told every half minute which users have something open; like `send`, it raises StoreUnavailable."""
        self._store = store
        self._instance = instance
        self._send = send
        self._seen = seen
        self._here: dict[str, Counter[Person]] = {}
        # What Redis does not know yet: whether somebody is in a room.
        self._changed: dict[tuple[str, Person], bool] = {}
        self._wake = Event()
        self._everybody: list[dict[str, Any]] = []
        self._looked = -FRESH

    def start(self) -> None:
        """Begin to tell."""
        gevent.spawn(self._tell)
        gevent.spawn(self._repeat)

    def came(self, session: Session, room: str) -> None:
        """Somebody opened something."""
        if not _is_told(room):
            return
        person = (session.actor.id, session.actor.name)
        here = self._here.setdefault(room, Counter())
        here[person] += 1
        if here[person] == 1:
            self._change(room, person, there=True)

    def went(self, session: Session, room: str) -> None:
        """Somebody closed something; the last of it is the end of the presence here."""
        person = (session.actor.id, session.actor.name)
        here = self._here.get(room)
        if here is None or not here[person]:
            return
        here[person] -= 1
        if not here[person]:
            del here[person]
            if not here:
                del self._here[room]
            self._change(room, person, there=False)

    def of(self, room: str) -> list[dict[str, Any]]:
        """The people in a room, on all instances, by name; raises StoreUnavailable."""
        return self._store.use(lambda client: self._people(client, [room]))[0]

    def everybody(self) -> list[dict[str, Any]]:
        """Who has anything open, on all instances, by name, as of this moment or two seconds ago.

        Raises StoreUnavailable. Nobody is told when this changes: every instance would hear of every arrival.
        """
        now = time.monotonic()
        if now - self._looked >= FRESH:
            self._everybody, self._looked = self.of(EVERYBODY), now
        return self._everybody

    def users(self) -> set[int]:
        """Who has anything open at this instance."""
        return {person[0] for here in self._here.values() for person in here}

    def _change(self, room: str, person: Person, *, there: bool) -> None:
        self._changed[room, person] = there
        self._wake.set()

    def _tell(self) -> None:
        while True:
            self._wake.wait()
            gevent.sleep(GATHER)
            self._wake.clear()
            changed, self._changed = self._changed, {}
            try:
                self._store.use(partial(self._write, changed))
                self._announce({room for room, _ in changed})
            except StoreUnavailable:
                # The next repetition says all of it again; who went is forgotten when the word does not hold any more.
                continue

    def _repeat(self) -> None:
        while True:
            gevent.sleep(SAY)
            there = {(room, person): True for room, here in self._here.items() for person in here}
            try:
                self._store.use(partial(self._write, there))
                self._seen(self.users())
                self._announce(self._store.use(self._forget))
            except StoreUnavailable:
                continue

    def _write(self, changed: dict[tuple[str, Person], bool], client: redis.Redis) -> None:
        until = clock.now().timestamp() + HOLDS
        pipeline = client.pipeline(transaction=False)
        for (room, person), there in changed.items():
            member = orjson.dumps([*person, self._instance])
            if there:
                pipeline.zadd(PRESENT + room, {member: until})
                pipeline.expire(PRESENT + room, HOLDS)
            else:
                pipeline.zrem(PRESENT + room, member)
        pipeline.execute()

    def _forget(self, client: redis.Redis) -> list[str]:
        """Forget whose word does not hold any more, in the rooms of this instance; the rooms that had such."""
        rooms = list(self._here)
        pipeline = client.pipeline(transaction=False)
        for room in rooms:
            pipeline.zremrangebyscore(PRESENT + room, 0, clock.now().timestamp())
        return [room for room, gone in zip(rooms, pipeline.execute(), strict=True) if gone]

    def _announce(self, rooms: Iterable[str]) -> None:
        told = [room for room in rooms if room != EVERYBODY]
        if told:
            people = self._store.use(lambda client: self._people(client, told))
            self._send(
                [
                    Message(room, PRESENCE, {"room": room, "present": found})
                    for room, found in zip(told, people, strict=True)
                ]
            )

    def _people(self, client: redis.Redis, rooms: list[str]) -> list[list[dict[str, Any]]]:
        now = clock.now().timestamp()
        pipeline = client.pipeline(transaction=False)
        for room in rooms:
            pipeline.zrevrangebyscore(PRESENT + room, "+inf", now, start=0, num=MOST_READ)
        return [
            _named({tuple(orjson.loads(member)[:2]) for member in members} | set(self._here.get(room, ())))
            for room, members in zip(rooms, pipeline.execute(), strict=True)
        ]


def _is_told(room: str) -> bool:
    """Whether it is of interest who is in a room: here at all, or at some record."""
    return room == EVERYBODY or room.partition(":")[0] not in OWN_KINDS


def _named(people: set[Person]) -> list[dict[str, Any]]:
    return [{"id": number, "name": name} for number, name in sorted(people, key=lambda one: (one[1], one[0]))][
        :MOST_NAMED
    ]
