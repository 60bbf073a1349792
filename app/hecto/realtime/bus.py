"""Events between instances, through Redis: the client manager of the Socket.IO server.

Each room has a channel of its own, which an instance hears only while one of its sockets is in the room: what an event
costs grows with those whom it concerns, not with the number of instances. A packet is made once, by whoever sends it;
the others pass it on as it is.

The managers that python-socketio brings have one channel for all, from which every instance reads every event.
"""

from __future__ import annotations

import uuid
from typing import Any

import gevent
import orjson
import redis
from engineio.exceptions import SocketIsClosedError
from engineio.packet import MESSAGE
from engineio.packet import Packet as EnginePacket
from gevent.event import Event
from redis.backoff import NoBackoff
from redis.retry import Retry
from socketio.manager import Manager

from hecto.core import clock
from hecto.core.live import SESSION_CHANGED, SESSION_ENDED
from hecto.core.outbox import Message
from hecto.core.store import Store, connection_options
from hecto.settings import Settings

# What concerns everybody, which is rare: every instance hears this channel.
EVERYBODY = "hecto:everybody"
ROOM = "hecto:room:"
# What was deployed last, and when; for those who were not there to hear of it.
ANNOUNCED = "hecto:announced"
RELEASE_NEW = "release.new"
# Tells the sockets of this instance that something may have passed it by.
MISSED = "missed"
# Between attempts to hear Redis again: short enough that a restart of Redis costs a browser no more than this.
PAUSE = 0.5
# How long a socket waits for the word that its room is heard.
CONFIRMED = 1.0
# How long a room without members is still heard: somebody who opens the next page comes back to it at once.
LINGER = 30.0
NAMESPACE = "/"


class Bus(Manager):  # type: ignore[misc]
    """Publishes through the store, which bounds every wait, and listens on a connection of its own."""

    def __init__(self, settings: Settings, store: Store) -> None:
        super().__init__()
        self.listening = False
        self._name = uuid.uuid4().hex.encode()
        self._store = store
        # The rooms that are heard or about to be; each is set when Redis has confirmed it.
        self._heard: dict[str, Event] = {}
        self._subscription: Any = None
        # No timeout for reads: silence is normal here.
        options = {**connection_options(settings), "socket_timeout": None, "socket_keepalive": True}
        if settings.redis_socket:
            options.pop("socket_keepalive")
        # No repeats inside of redis-py either: while it repeats, nobody knows that this instance is deaf.
        self._listener = redis.Redis.from_pool(redis.ConnectionPool(**options, retry=Retry(NoBackoff(), 0)))

    def initialize(self) -> None:
        """Begin to listen."""
        gevent.spawn(self._listen)
        gevent.spawn(self._forget_rooms)

    def send(self, messages: list[Message]) -> None:
        """Send events to their rooms, here and on every instance, in one round trip; raises StoreUnavailable."""
        packets = [_packet_of(message) for message in messages]

        def publish(client: redis.Redis) -> None:
            pipeline = client.pipeline(transaction=False)
            for message, packet in zip(messages, packets, strict=True):
                pipeline.publish(ROOM + message.room, b"\n".join((self._name, message.event.encode(), packet)))
            pipeline.execute()

        if messages:
            self._store.use(publish)
        for message, packet in zip(messages, packets, strict=True):
            self._deliver(message.room, message.event, packet)

    def announce(self, release: str) -> bool:
        """Tell all open pages, and those that come later, which release has been deployed; says whether that is news.

        For a process that has no sockets. Raises what redis-py raises.
        """
        packet = _packet_of(Message("", RELEASE_NEW, {"release": release}))
        # First kept, then told: whoever connects meanwhile may hear of it twice, never not at all.
        pipeline = self._store.client.pipeline(transaction=True)
        pipeline.set(ANNOUNCED, orjson.dumps({"release": release, "at": clock.now().timestamp()}), get=True)
        pipeline.publish(EVERYBODY, b"\n".join((self._name, RELEASE_NEW.encode(), packet)))
        before = pipeline.execute()[0]
        return before is None or orjson.loads(before)["release"] != release

    def announced(self) -> dict[str, Any] | None:
        """The release that was announced last, and when; raises StoreUnavailable."""
        found = self._store.use(lambda client: client.get(ANNOUNCED))
        return orjson.loads(found) if found else None

    def basic_enter_room(self, sid: str, namespace: str, room: str | None, eio_sid: str | None = None) -> None:
        """Put a socket into a room, which is heard from then on, or what comes right after it would be lost."""
        if room is not None and room != sid:
            self._hear(room)
        super().basic_enter_room(sid, namespace, room, eio_sid=eio_sid)

    def _hear(self, room: str) -> None:
        confirmed = self._heard.get(room)
        if confirmed is None:
            confirmed = self._heard[room] = Event()
            if self._subscription is not None:
                try:
                    self._subscription.subscribe(ROOM + room)
                except redis.RedisError:
                    # The listener meets the same, and subscribes to all rooms when Redis is back.
                    self.listening = False
        # Without Redis there is nothing to wait for: all are told when it is back.
        if self._subscription is not None:
            confirmed.wait(CONFIRMED)

    def _forget_rooms(self) -> None:
        """Hear rooms no more that have been empty for a while."""
        empty: set[str] = set()
        while True:
            gevent.sleep(LINGER)
            still_empty = self._heard.keys() - self.rooms.get(NAMESPACE, {}).keys()
            for room in empty & still_empty:
                del self._heard[room]
                if self._subscription is not None:
                    try:
                        self._subscription.unsubscribe(ROOM + room)
                    except redis.RedisError:
                        self.listening = False
            empty = still_empty

    def _deliver(self, room: str | None, event: str, packet: bytes) -> None:
        """Pass a packet on to the sockets of this instance that are in a room; None is for all."""
        members = list(self.get_participants(NAMESPACE, room))
        if not members:
            return
        passed_on = EnginePacket(MESSAGE, packet.decode())
        for _, socket in members:
            try:
                self.server._send_eio_packet(socket, passed_on)
            except SocketIsClosedError:
                # It ended while the others were told.
                continue
        if event in (SESSION_ENDED, SESSION_CHANGED):
            # Not left to the client: whoever may not see something any more must not go on hearing of it.
            for sid, _ in members:
                self.server.disconnect(sid, ignore_queue=True)

    def _listen(self) -> None:
        while True:
            try:
                with self._listener.pubsub() as subscription:  # type: ignore[no-untyped-call]
                    rooms = set(self._heard)
                    subscription.subscribe(EVERYBODY, *(ROOM + room for room in rooms))
                    self._subscription = subscription
                    # Those that were entered meanwhile; from here on each sees to itself.
                    if meanwhile := self._heard.keys() - rooms:
                        subscription.subscribe(*(ROOM + room for room in meanwhile))
                    for message in subscription.listen():
                        self.listening = True
                        self._take(message)
            except redis.RedisError as error:
                self.server.logger.warning("cannot hear the other instances, trying again: %s", error)
            finally:
                self.listening = False
                self._subscription = None
                for confirmed in self._heard.values():
                    confirmed.clear()
            gevent.sleep(PAUSE)

    def _take(self, message: dict[str, Any]) -> None:
        """What Redis says: that a room is heard from now on, or an event of another instance."""
        channel = message["channel"].decode()
        room = channel.removeprefix(ROOM) if channel.startswith(ROOM) else None
        if message["type"] == "subscribe" and room in self._heard:
            self._heard[room].set()
        elif message["type"] == "subscribe" and channel == EVERYBODY:
            # With the first channel of the command all of them are heard. Whoever is here came while none was.
            self._deliver(None, MISSED, _packet_of(Message("", MISSED, {})))
        elif message["type"] == "message":
            sender, event, packet = message["data"].split(b"\n", 2)
            if sender != self._name:
                self._deliver(room, event.decode(), packet)


def _packet_of(message: Message) -> bytes:
    """The event as Socket.IO writes it, for the namespace /."""
    return b"2" + orjson.dumps([message.event, message.payload])
