"""The Socket.IO server: who may connect, which rooms they are in, and how events get out."""

from __future__ import annotations

import math
import random
from typing import Any

import gevent
from flask import Flask
from flask_socketio import ConnectionRefusedError, SocketIO
from werkzeug.http import parse_cookie

from hecto.core import clock, trail
from hecto.core.endpoints import cookie_name
from hecto.core.errors import DomainError
from hecto.core.gate import Credentials
from hecto.core.live import SESSION_CHANGED, SESSION_ENDED, list_room, session_room, user_room
from hecto.core.permissions import Actor
from hecto.core.services import Services
from hecto.realtime.broadcast import Broadcast
from hecto.realtime.bus import Bus
from hecto.realtime.packets import Packet
from hecto.realtime.presence import Presence
from hecto.realtime.protocol import Admission
from hecto.realtime.rooms import Kinds, Rooms
from hecto.realtime.sessions import Session
from hecto.realtime.stream import EVERYBODY, RELEASE_NEW

# What one client may send in one message, in bytes: ours only send small notes, files go by HTTP.
LARGEST_MESSAGE = 100_000

# Within this time a draining instance has closed all of its connections, in so many waves.
MOVE_SECONDS = 1.0
WAVES = 10

# Between two looks for sockets whose sign-in has run out.
LOOK_SECONDS = 5.0

# The list rooms and the permission each needs.
LISTS = {"messages": "messages.read", "tasks": "tasks.read"}


class Realtime:
    """The Socket.IO server of one process."""

    def __init__(self, app: Flask, services: Services, kinds: Kinds) -> None:
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
            # What a client says is done in its order, one thing at a time: who says a lot waits for himself.
            async_handlers=False,
            max_http_buffer_size=LARGEST_MESSAGE,
            # A dead connection is noticed after 46 s at the latest.
            ping_interval=25,
            ping_timeout=20,
        )
        server = self.socketio.server
        server.eio.place = services.settings.place
        server.admit = self._admit
        server.greet = self._tell_release
        self.bus.commands |= {SESSION_ENDED: self._end, SESSION_CHANGED: self._end}
        self.presence = Presence(services.store, self.bus.listener.name, self.bus.send, services.gate.seen)
        self.bus.came, self.bus.went = self.presence.came, self.presence.went
        self.rooms = Rooms(server, services, kinds, self.presence)
        services.teller.send = self.bus.send
        services.socketio_healthy = lambda: self.bus.listener.listening
        services.instance.deaf = lambda: self.bus.listener.deaf
        services.instance.count_websockets = self._count
        services.instance.describe_live = self.bus.listener.describe
        services.instance.move_websockets = self._move_all

    def start(self) -> None:
        """Begin to hear the other instances; called in the worker, since a thread does not survive a fork."""
        server = self.socketio.server
        if not server.manager_initialized:
            server.manager_initialized = True
            server.manager.initialize()
            self.presence.start()
            gevent.spawn(self._end_expired)

    def _end_expired(self) -> None:
        """Close the sockets of sign-ins that have run out. A browser then asks, and is told to sign in again.

        Who came with an access token comes back with a new one, and goes on where it was.
        """
        while True:
            gevent.sleep(LOOK_SECONDS)
            now = clock.now().timestamp()
            for session in list(self.bus.here.values()):
                if session.actor.ends <= now:
                    self.socketio.server.disconnect(session.sid)
                elif session.until <= now:
                    session.connection.close(wait=False, abort=True, reason="the access token ran out")

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

    def _admit(self, environ: dict[str, Any], said: dict[str, Any]) -> Admission:
        credentials = self._credentials(environ, said)
        actor = self._identify(credentials)
        lists = {list_room(name) for name, permission in LISTS.items() if actor.may(permission)}
        rooms = frozenset({EVERYBODY, user_room(actor.id), session_room(actor.session_id), *lists})
        return Admission(
            actor, rooms, lambda room: self._may_hear(actor, room), lambda: self._stands(actor), credentials.ends
        )

    def _credentials(self, environ: dict[str, Any], said: dict[str, Any]) -> Credentials:
        """What somebody connects with: an access token in the handshake, or the browser's cookie."""
        token = said.get("token")
        cookie = parse_cookie(environ).get(cookie_name(self._services))
        try:
            credentials = self._services.gate.credentials(token if isinstance(token, str) else None, cookie)
        except DomainError as error:
            raise ConnectionRefusedError(error.detail) from error
        if credentials is None:
            raise ConnectionRefusedError("Sign in first.")
        return credentials

    def _identify(self, credentials: Credentials) -> Actor:
        try:
            actor, _ = self._services.gate.admit(credentials)
            trail.identify(actor.id)
        except DomainError as error:
            raise ConnectionRefusedError(error.detail) from error
        return actor

    def _stands(self, actor: Actor) -> bool:
        try:
            return self._services.gate.stands(actor)
        except DomainError:
            # Nobody knows, since PostgreSQL does not answer; it is looked up when the client comes again.
            return False

    def _may_hear(self, actor: Actor, room: str) -> bool:
        try:
            return self.rooms.may_hear(actor, room)
        except DomainError as error:
            raise ConnectionRefusedError(error.detail) from error

    def _tell_release(self, sid: str) -> None:
        """Tell a socket what was announced last: its page slept then, or was on its way back."""
        if self.bus.announced:
            self.socketio.server.emit(RELEASE_NEW, self.bus.announced, to=sid)

    def _end(self, session: Session, _: Broadcast) -> None:
        """End a socket. Not left to the client: who may not see something any more must not go on hearing of it."""
        self.socketio.server.disconnect(session.sid)
