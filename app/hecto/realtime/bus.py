"""Events between instances, through Redis: the client manager of the Socket.IO server.

The one that python-socketio brings doubles its pause up to a minute after Redis was away, gives no sign whether it
listens, and waits without bound when it publishes.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import orjson
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from socketio.pubsub_manager import PubSubManager

from hecto.core import clock
from hecto.core.live import SESSION_CHANGED, SESSION_ENDED
from hecto.core.outbox import Message
from hecto.core.store import Store, StoreUnavailable, connection_options
from hecto.settings import Settings

CHANNEL = "hecto:events"
# What was deployed last, and when; for those who were not there to hear of it.
ANNOUNCED = "hecto:announced"
RELEASE_NEW = "release.new"
# Tells the sockets of this instance that something may have passed it by.
MISSED = "missed"
# Between attempts to hear Redis again: short enough that a restart of Redis costs a browser no more than this.
PAUSE = 0.5


class Bus(PubSubManager):  # type: ignore[misc]
    """Publishes through the store, which bounds every wait, and listens on a connection of its own."""

    name = "hecto"

    def __init__(self, settings: Settings, store: Store) -> None:
        super().__init__(channel=CHANNEL)
        self.listening = False
        self._was_deaf = False
        self._store = store
        # No timeout for reads: silence is normal here.
        options = {**connection_options(settings), "socket_timeout": None, "socket_keepalive": True}
        if settings.redis_socket:
            options.pop("socket_keepalive")
        # No repeats inside of redis-py either: while it repeats, nobody knows that this instance is deaf.
        self._listener = redis.Redis.from_pool(redis.ConnectionPool(**options, retry=Retry(NoBackoff(), 0)))

    def send(self, messages: list[Message]) -> None:
        """Send events to their rooms, here and on every instance, in one round trip; raises StoreUnavailable."""
        emits = [self._emit_of(message) for message in messages]

        def publish(client: redis.Redis) -> None:
            pipeline = client.pipeline(transaction=False)
            for emit in emits:
                pipeline.publish(CHANNEL, orjson.dumps(emit))
            pipeline.execute()

        if emits:
            self._store.use(publish)
        for emit in emits:
            self._handle_emit(emit)

    def announce(self, release: str) -> bool:
        """Tell all open pages, and those that come later, which release has been deployed; says whether that is news.

        For a process that has no sockets. Raises what redis-py raises.
        """
        emit = self._emit_of(Message("", RELEASE_NEW, {"release": release})) | {"room": None}
        # First kept, then told: whoever connects meanwhile may hear of it twice, never not at all.
        pipeline = self._store.client.pipeline(transaction=True)
        pipeline.set(ANNOUNCED, orjson.dumps({"release": release, "at": clock.now().timestamp()}), get=True)
        pipeline.publish(CHANNEL, orjson.dumps(emit))
        before = pipeline.execute()[0]
        return before is None or orjson.loads(before)["release"] != release

    def announced(self) -> dict[str, Any] | None:
        """The release that was announced last, and when; raises StoreUnavailable."""
        found = self._store.use(lambda client: client.get(ANNOUNCED))
        return orjson.loads(found) if found else None

    def _handle_emit(self, message: dict[str, Any]) -> None:
        super()._handle_emit(message)
        if message["event"] in (SESSION_ENDED, SESSION_CHANGED):
            # Not left to the client: whoever may not see something any more must not go on hearing of it.
            for sid, _ in list(self.get_participants("/", message["room"])):
                self.server.disconnect(sid, ignore_queue=True)

    def _emit_of(self, message: Message) -> dict[str, Any]:
        """The message as python-socketio's other servers read it."""
        return {
            "method": "emit",
            "event": message.event,
            "data": [message.payload],
            "binary": False,
            "namespace": "/",
            "room": message.room,
            "skip_sid": None,
            "callback": None,
            "host_id": self.host_id,
        }

    def _publish(self, data: dict[str, Any]) -> None:
        message = orjson.dumps(data, default=str)
        try:
            self._store.use(lambda client: client.publish(CHANNEL, message))
        except StoreUnavailable:
            # Those on this instance have it; pages of others load anew when their socket says so or the user acts.
            self._get_logger().warning("Redis is away: an event reached this instance only")

    def _listen(self) -> Iterator[bytes]:
        while True:
            try:
                with self._listener.pubsub() as subscription:  # type: ignore[no-untyped-call]
                    subscription.subscribe(CHANNEL)
                    if self._was_deaf:
                        self._handle_emit(self._emit_of(Message("", MISSED, {})) | {"room": None})
                    self._was_deaf = True
                    for message in subscription.listen():
                        self.listening = True
                        if message["type"] == "message":
                            yield message["data"]
            except redis.RedisError as error:
                self._get_logger().warning("cannot hear the other instances, trying again: %s", error)
            finally:
                self.listening = False
            time.sleep(PAUSE)
