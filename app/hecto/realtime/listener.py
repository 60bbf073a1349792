"""What this instance hears of Redis: the events of the rooms that it asks for, in order and without a hole.

When the connection breaks, what passed meanwhile is read from the streams. What cannot be read any more is told as
missed, and never passed over.
"""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Callable, Iterable
from contextlib import closing
from typing import Any, Protocol

import gevent
import redis
from gevent.event import Event
from redis.backoff import NoBackoff
from redis.retry import Retry

from hecto.core.store import Store, StoreUnavailable, connection_options
from hecto.realtime.broadcast import Broadcast
from hecto.realtime.channels import Channels
from hecto.realtime.sessions import INSTANCE
from hecto.realtime.stream import EVERYBODY, LIFE, ROOM, Position, Stream, begin
from hecto.settings import Settings

log = logging.getLogger(__name__)

# Between attempts to hear Redis again: short enough that a restart of Redis costs a browser no more than this.
PAUSE = 0.5
# How long Redis may take to let this instance in; a connection that waits for one that is silent would do so for ever.
LET_IN = 2.0
# How long somebody waits for the word that a room is heard.
CONFIRMED = 1.0
# How long a room that nobody needs is still heard: somebody who opens the next page comes back to it at once.
LINGER = 30.0
# Between two words of an instance to itself, and how long none may be heard before it counts as deaf.
BEAT, DEAF = 5.0, 12.0
# How long streams tell all that passed: the events of a room are gone LIFE after the last one.
KNOWN = LIFE - 60.0


class Hearer(Protocol):
    """Who is told what was heard."""

    def deliver(self, broadcast: Broadcast) -> None:
        """The next event."""

    def missed(self, position: Position, *, anew: bool) -> None:
        """Events up to a position are not known; with `anew`, positions of the past mean nothing any more."""

    def taken(self, sid: str, generation: int) -> None:
        """Somebody took up a session."""


class Listener:
    """Listens on a connection of its own; looks for what was missed through the store."""

    def __init__(self, settings: Settings, store: Store, stream: Stream, hearer: Hearer) -> None:
        # Hosts number their instances alike, and one that starts again is another one.
        self.name = uuid.uuid4().hex
        self._own = INSTANCE + self.name
        self.listening = False
        # Redis takes what this instance says, and it does not hear it.
        self.deaf = False
        self._store, self._stream, self._hearer = store, stream, hearer
        # Of the last event that was heard.
        self._position: Position | None = None
        # Of the Redis that is heard.
        self._reign = ""
        # The rooms that are heard or about to be; each is set when Redis has confirmed it.
        self._rooms: dict[str, Event] = {EVERYBODY: Event()}
        # Those that somebody did not wait for to the end.
        self._late: set[str] = set()
        self._channels: Channels | None = None
        self._unheard_since: float | None = None
        self._heard_at = time.monotonic()
        # No timeout for reads: silence is normal here.
        options = {**connection_options(settings), "socket_timeout": None, "socket_keepalive": True}
        if settings.redis_socket:
            options.pop("socket_keepalive")
        # No repeats inside of redis-py either: while it repeats, nobody knows that this instance is deaf.
        self._connections = redis.ConnectionPool(**options, retry=Retry(NoBackoff(), 0))

    def start(self, needed: Callable[[], Iterable[str]]) -> None:
        """Begin to listen; `needed` are the rooms that somebody is in."""
        self._store.left_master = self._end
        gevent.spawn(self._listen)
        gevent.spawn(self._forget, needed)
        gevent.spawn(self._speak)

    def hear(self, rooms: Iterable[str]) -> None:
        """Hear rooms, or what comes right after would be lost; without Redis there is nothing to wait for."""
        asked = list(rooms)
        new = [room for room in asked if room not in self._rooms]
        for room in new:
            self._rooms[room] = Event()
        if self._channels is None:
            return
        if new:
            self._say(self._channels.subscribe, new)
        with gevent.Timeout(CONFIRMED, False):
            for room in asked:
                if (confirmed := self._rooms.get(room)) is not None:
                    confirmed.wait()
        self._late.update(room for room in asked if room in self._rooms and not self._rooms[room].is_set())
        if gone := [room for room in asked if room not in self._rooms]:
            # They were empty for long, and given up while this waited for others.
            self.hear(gone)

    def describe(self) -> dict[str, Any]:
        """What it hears, for people."""
        return {"rooms": len(self._rooms), "listening": self.listening, "deaf": self.deaf}

    def _say(self, what: Callable[..., Any], rooms: Iterable[str]) -> None:
        try:
            what(*(ROOM + room for room in rooms))
        except redis.RedisError:
            # The greenlet that listens meets the same, and subscribes to all rooms when Redis is back.
            self.listening = False

    def _forget(self, needed: Callable[[], Iterable[str]]) -> None:
        """Hear rooms no more that nobody has needed for a while."""
        empty: set[str] = set()
        while True:
            gevent.sleep(LINGER)
            still_empty = self._rooms.keys() - set(needed()) - {EVERYBODY}
            gone = empty & still_empty
            for room in gone:
                del self._rooms[room]
            if gone and self._channels is not None:
                self._say(self._channels.unsubscribe, gone)
            empty = still_empty

    def _listen(self) -> None:
        while True:
            try:
                with closing(self._connect()) as channels:
                    self._reign = channels.reign
                    self._subscribe(channels)
                    for kind, channel, content in channels.messages():
                        self._take(kind, channel, content)
            except redis.RedisError as error:
                log.warning("cannot hear the other instances, trying again: %s", error)
            except Exception:
                # Who heard what of the event that it broke off at, nobody knows.
                log.exception("an event could not be passed on: all clients here are told to look at everything anew")
                self._position = None
            finally:
                self.listening = False
                self._channels = None
                for confirmed in self._rooms.values():
                    confirmed.clear()
            gevent.sleep(PAUSE)

    def _connect(self) -> Channels:
        connection = self._connections.make_connection()
        try:
            with gevent.Timeout(LET_IN, redis.TimeoutError("Redis lets nobody in")):
                return Channels(connection)
        except BaseException:
            connection.disconnect()  # type: ignore[no-untyped-call]
            raise

    def _subscribe(self, channels: Channels) -> None:
        rooms = set(self._rooms)
        channels.subscribe(self._own, *(ROOM + room for room in rooms))
        self._channels = channels
        # Those that were asked for meanwhile; from here on each sees to itself.
        if meanwhile := self._rooms.keys() - rooms:
            channels.subscribe(*(ROOM + room for room in meanwhile))

    def _take(self, kind: bytes, channel: str, content: bytes) -> None:
        """What Redis says: that a channel is heard from now on, or what was said there."""
        if kind == b"message":
            if channel == self._own:
                self._obey(content)
                return
            offset, content = content.split(b"\n", 1)
            epoch, number = offset.decode().split("-")
            self._go_on(Broadcast(channel.removeprefix(ROOM), epoch, int(number), content))
        elif kind == b"subscribe":
            if channel == self._own:
                # With the first channel of the command all of them are heard.
                self._catch_up()
                self.listening = True
            else:
                self._confirm(channel.removeprefix(ROOM))

    def _confirm(self, room: str) -> None:
        """A room is heard from now on. Whoever did not wait for it to the end may have missed something there."""
        if (confirmed := self._rooms.get(room)) is not None:
            confirmed.set()
        if room in self._late and self._position is not None:
            self._late.remove(room)
            self._hearer.missed(self._position, anew=False)

    def _go_on(self, broadcast: Broadcast) -> None:
        """Take the next event, unless it was had already when what was missed was looked for."""
        assert self._position is not None, "nothing is heard before the position is known"
        if broadcast.epoch != self._position.epoch:
            self._begin(Position(broadcast.epoch, broadcast.number - 1))
        if broadcast.number > self._position.number:
            self._position = Position(broadcast.epoch, broadcast.number)
            self._hearer.deliver(broadcast)

    def _obey(self, data: bytes) -> None:
        """What this instance is told alone."""
        word, *rest = data.decode().split("\n")
        if word == "beat":
            self._unheard_since, self.deaf = None, False
            self._heard_at = time.monotonic()
        elif word == "taken":
            self._hearer.taken(rest[0], int(rest[1]))

    def _catch_up(self) -> None:
        """Take what passed while nothing was heard; raises what redis-py raises."""
        self._late.clear()
        client = self._store.client
        reign, now = begin(client)
        if reign != self._reign:
            # The master changed between the two connections: what is told at one would never be heard at the other.
            raise redis.ConnectionError("two connections lead to two masters")
        heard = self._position
        if heard is None or heard.epoch != now.epoch:
            self._begin(now)
            return
        passed = None
        # What is older than that may be gone from the streams without a trace.
        if time.monotonic() - self._heard_at < KNOWN:
            passed = self._stream.after(client, now.epoch, dict.fromkeys(self._rooms, heard.number))
        if passed is None:
            self._position = now
            self._hearer.missed(now, anew=False)
            return
        for broadcast in passed:
            self._go_on(broadcast)

    def _begin(self, position: Position) -> None:
        """Redis began anew, or this instance did: what was told last may never have been heard."""
        self._position = position
        self._hearer.missed(position, anew=True)

    def _speak(self) -> None:
        """See that what is said is heard: there may be a connection on which nothing comes any more."""
        while True:
            gevent.sleep(BEAT)
            now = time.monotonic()
            if self._unheard_since is not None and now - self._unheard_since > DEAF:
                self._unheard_since, self.deaf = now, True
                self._listen_anew()
            try:
                self._store.use(self._say_beat)
            except StoreUnavailable:
                # All are deaf then, and nobody would be any better.
                self._unheard_since, self.deaf = None, False
                continue
            self._unheard_since = self._unheard_since or now

    def _say_beat(self, client: redis.Redis) -> None:
        # With a write before it, which a master refuses that the others have given up, while it still publishes.
        client.set(self._own, b"", px=int(BEAT * 1000))
        client.publish(self._own, "beat")

    def _listen_anew(self) -> None:
        log.error("this instance does not hear what is said to it, listening anew")
        self._end()

    def _end(self) -> None:
        """End the connection; the greenlet that listens makes another one."""
        if self._channels is not None:
            self._channels.end()
