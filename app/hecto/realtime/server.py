"""The Socket.IO server: who may connect, which rooms they are in, and how events get out."""

from __future__ import annotations

import math
import random
from typing import Any

import gevent
from flask import Flask, request
from flask_socketio import ConnectionRefusedError, SocketIO, join_room

from hecto.core import clock
from hecto.core.endpoints import cookie_name
from hecto.core.errors import DomainError
from hecto.core.live import list_room, session_room, user_room
from hecto.core.permissions import Actor
from hecto.core.services import Services
from hecto.core.store import StoreUnavailable
from hecto.realtime import protocol  # noqa: F401  what Flask-SocketIO runs on from here on
from hecto.realtime.bus import RELEASE_NEW, Bus
from hecto.realtime.packets import Packet

# What one client may send in one message, in bytes: ours only send small notes, files go by HTTP.
LARGEST_MESSAGE = 100_000

# Within this time a draining instance has closed all of its connections, in so many waves.
MOVE_SECONDS = 1.0
WAVES = 10

# Between two looks for sockets whose sign-in has run out.
LOOK_SECONDS = 10.0
# Where the environment of a socket's handshake keeps when its sign-in runs out.
ENDS = "hecto.ends"

# The list rooms and the permission each needs.
LISTS = {"tasks": "tasks.read"}


class Realtime:
    """The Socket.IO server of one process."""

    def __init__(self, app: Flask, services: Services) -> None:
        self._services = services
        self._mover: gevent.Greenlet | None = None
        self.bus = Bus(services.settings, services.store)
        self.socketio = SocketIO(
            app,
            async_mode="gevent",
            client_manager=self.bus,
            serializer=Packet,
            cors_allowed_origins=[services.settings.public_url, *services.settings.cors_origins],
            manage_session=False,
            max_http_buffer_size=LARGEST_MESSAGE,
            # A dead connection is noticed after 46 s at the latest.
            ping_interval=25,
            ping_timeout=20,
        )
        self.socketio.server.eio.instance = services.settings.instance
        self.socketio.on_event("connect", self._connect)
        services.teller.send = self.bus.send
        services.socketio_healthy = lambda: self.bus.listening
        services.instance.count_websockets = self._count
        services.instance.move_websockets = self._move_all

    def start(self) -> None:
        """Begin to hear the other instances; called in the worker, since a thread does not survive a fork."""
        server = self.socketio.server
        if not server.manager_initialized:
            server.manager_initialized = True
            server.manager.initialize()
            gevent.spawn(self._end_expired)

    def _end_expired(self) -> None:
        """Close the sockets of sign-ins that have run out. A browser then asks, and is told to sign in again."""
        server = self.socketio.server
        while True:
            gevent.sleep(LOOK_SECONDS)
            now = clock.now().timestamp()
            for sid, socket in list(self.bus.get_participants("/", None)):
                if server.environ.get(socket, {}).get(ENDS, math.inf) <= now:
                    server.disconnect(sid, ignore_queue=True)

    def _move_all(self) -> None:
        """Close every connection, so that clients come back at another instance; a roll must not wait for them."""
        if self._mover is None or self._mover.dead:
            self._mover = gevent.spawn(self._close_in_waves)

    def _close_in_waves(self) -> None:
        # In waves, or all clients of this instance would shake hands with the others in the same millisecond.
        sockets = list(self.socketio.server.eio.sockets.values())
        random.shuffle(sockets)
        size = math.ceil(len(sockets) / WAVES) or 1
        for first in range(0, len(sockets), size):
            for socket in sockets[first : first + size]:
                socket.close(wait=False, abort=True)
            gevent.sleep(MOVE_SECONDS / WAVES)

    def _count(self) -> int:
        return sum(1 for socket in self.socketio.server.eio.sockets.values() if socket.upgraded and not socket.closed)

    def _connect(self, auth: Any = None) -> None:
        actor = self._identify(auth)
        request.environ[ENDS] = actor.ends
        join_room(user_room(actor.id))
        join_room(session_room(actor.session_id))
        for name, permission in LISTS.items():
            if actor.may(permission):
                join_room(list_room(name))
        # In a greenlet of its own: the client hears it after the word that it is connected.
        gevent.spawn(self._tell_release, request.sid)  # type: ignore[attr-defined]  # Flask-SocketIO's

    def _tell_release(self, sid: str) -> None:
        """Tell a new socket what was announced last: its page slept then, or was on its way back."""
        try:
            announced = self.bus.announced()
        except StoreUnavailable:
            return
        if announced:
            self.socketio.server.emit(RELEASE_NEW, announced, to=sid, ignore_queue=True)

    def _identify(self, auth: Any) -> Actor:
        """Who connects: by access token in the handshake, or by the browser's cookie."""
        token = auth.get("token") if isinstance(auth, dict) else None
        cookie = request.cookies.get(cookie_name(self._services))
        gate = self._services.gate
        try:
            credentials = gate.credentials(token if isinstance(token, str) else None, cookie)
            if credentials is None:
                raise ConnectionRefusedError("Sign in first.")
            actor, _ = gate.admit(credentials)
        except DomainError as error:
            raise ConnectionRefusedError(error.detail) from error
        return actor
