"""Engine.io on our WebSocket: one greenlet a connection, a frame made once a broadcast, one sweep for all pings.

python-engineio brings sessions, long polling and the upgrade; its WebSocket cuts frames for slow clients, keeps the
connections of clients that are gone, and takes four greenlets for each.
"""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Iterable
from functools import partial
from typing import Any

import engineio
from engineio import exceptions
from engineio import socket as engineio_socket
from engineio.packet import NOOP, PING, Packet
from engineio.payload import Payload
from gevent.queue import Empty

from hecto.realtime import frames, websocket
from hecto.realtime.broadcast import Form
from hecto.realtime.packets import MalformedError, engine_packet
from hecto.realtime.websocket import WebSocket

# Between two looks at all connections, in seconds: so late may a ping or a timeout be.
SWEEP = 1.0
# Packets in one request of a client that polls. python-engineio drops all of more than 16 and answers 200; a page that
# was away for a while sends more. What they hold in all is bounded by the size of the request.
Payload.max_decode_packets = 10_000
# Pings to a connection that says nothing of who it is; then it ends, or nobodies could take every place.
PATIENCE = 1
# Packets that wait for a client that polls; who leaves more of them is gone or too slow.
MOST_WAITING = 5_000


class NoQueue:
    """What a connection with a WebSocket has for the queue of one that polls, which takes 2.5 kB."""

    def put(self, packet: Packet | None) -> None:
        """Forget it: that a connection ended is said to those who wait for packets, and nobody does."""

    def get(self, *_: object, **__: object) -> Packet | None:
        """There is nothing."""
        raise Empty

    def task_done(self) -> None:
        """Of one that was taken out before."""


NO_QUEUE = NoQueue()


class Connection(engineio_socket.Socket):  # type: ignore[misc]
    """One client, by polling or by WebSocket."""

    # Here and not in a constructor: of 10,000 connections, few need values of their own.
    _websocket: WebSocket | None = None
    last_ping: float | None
    # When there is to be a look at it: a ping, or the end of the patience with one.
    due: float | None = None
    # Whether it has a session of Socket.IO, and how often it was pinged without.
    admitted = False
    pings_before = 0
    # Whether it has answered its last ping.
    answers = False
    closing: bool
    closed: bool
    upgrading: bool
    upgraded: bool
    queue: Any

    def schedule_ping(self) -> None:
        """The client lives: the sweep pings it when the interval is over."""
        # It begins with a first one, for which the client has not answered anything.
        self.answers = self.due is not None
        self.last_ping = None
        self.due = time.time() + self.server.ping_interval

    def look(self, now: float) -> None:
        """It is due: ping it, or end it because its client has not answered, or has not said who it is."""
        if not self.admitted:
            self.pings_before += 1
        if self.last_ping is not None or self.pings_before > PATIENCE:
            self.close(wait=False, abort=True, reason=self.server.reason.PING_TIMEOUT)
            return
        self.last_ping, self.due = now, now + self.server.ping_timeout
        self.answers = False
        self.send(Packet(PING))

    def send(self, packet: Packet) -> None:
        """Send a packet, or keep it for a client that polls or is on its way to a WebSocket."""
        if self.closed:
            raise exceptions.SocketIsClosedError
        if self._websocket is not None and self.upgraded:
            self._websocket.send(frame_of(packet))
        elif self.queue.qsize() < MOST_WAITING:
            self.queue.put(packet)
        else:
            self.close(wait=False, abort=True, reason=self.server.reason.TRANSPORT_ERROR)

    def pass_on(self, form: Form) -> None:
        """Send an event that others get, too; to a connection that has ended, nothing happens."""
        if self._websocket is not None and self.upgraded:
            self._websocket.send(form.frames)
        else:
            for packet in form.packets:
                if not self.closed:
                    self.send(packet)

    def breathe(self) -> None:
        """Let a client read before it is sent more, of which there is much."""
        if self._websocket is not None and self.upgraded:
            self._websocket.drain()

    def handle_post_request(self, environ: dict[str, Any]) -> None:
        """Take the packets of a client that polls; raises EngineIOError, which ends the session, for malformed ones."""
        length = int(environ.get("CONTENT_LENGTH") or 0)
        if length > self.server.max_http_buffer_size:
            raise exceptions.ContentTooLongError
        body = environ["wsgi.input"].read(length)
        try:
            packets = Payload(encoded_payload=body.decode()).packets
        except Exception as error:  # whatever the library trips over
            raise MalformedError(f"not a payload: {error}") from error
        for packet in packets:
            self.receive(packet)

    def close(self, wait: bool = True, abort: bool = False, reason: str | None = None) -> None:
        """End the session; with `abort` without a word of engine.io's, so that the client comes back by itself."""
        if self._websocket is None:
            super().close(wait=False, abort=abort, reason=reason)
            return
        if self.closed or self.closing:
            return
        self.closing = True
        self.server._trigger_event(
            "disconnect", self.sid, reason or self.server.reason.SERVER_DISCONNECT, run_async=False
        )
        if not abort:
            self._websocket.send(frames.frame_of("1"))
        self.closed = True
        self.queue.put(None)
        self.server.sockets.pop(self.sid, None)
        if reason == self.server.reason.PING_TIMEOUT:
            # Nobody is there to say farewell to.
            self._websocket.abort()
        else:
            self._websocket.close(frames.Code.GOING_AWAY if abort else frames.Code.NORMAL)

    def _upgrade_websocket(self, environ: dict[str, Any], start_response: Any) -> list[bytes]:
        if self.upgraded or self.upgrading:
            raise exceptions.EngineIOError("This session has a WebSocket already.")
        try:
            opened = websocket.accept(environ, self.server.max_http_buffer_size)
        except OSError as error:
            raise StopIteration from error
        # From here on the session's end is its end as well, also of one that never gets any further.
        self._websocket = opened
        self.upgrading = True
        websocket.hand_over(partial(self._live, opened))
        # gunicorn's word for: this request has been answered.
        raise StopIteration

    def _live(self, opened: WebSocket) -> None:
        """Serve a client by WebSocket, to the end of the connection."""
        messages = opened.messages()
        try:
            if not self.connected or self._changes_over(opened, messages):
                self._serve(opened, messages)
        finally:
            self._websocket = None
            self.upgrading = False
            messages.close()
            # Also one that was not heard to its end.
            opened.end()

    def _changes_over(self, opened: WebSocket, messages: Iterable[str | bytes]) -> bool:
        """A client that polls tries a WebSocket (engine.io 4, "Upgrade"); whether it changes over to it."""
        try:
            for message in messages:
                if message == "2probe":
                    opened.send(frames.frame_of("3probe"))
                    # The request that waits for packets must end: later ones are the WebSocket's.
                    self.queue.put(Packet(NOOP))
                    continue
                return message == "5" and not self.closed
            return False
        finally:
            self.upgrading = False

    def _serve(self, opened: WebSocket, messages: Iterable[str | bytes]) -> None:
        self.connected = self.upgrading = True
        for packet in self._waiting():
            opened.send(frame_of(packet))
            # Of much, a part goes out first; what comes meanwhile waits behind the rest.
            opened.drain()
        self.upgraded, self.upgrading = True, False
        queue, self.queue = self.queue, NO_QUEUE
        # A request that still waits for packets is answered.
        queue.put(None)
        try:
            for message in messages:
                self.receive(engine_packet(message))
                if self.closed:
                    break
        except exceptions.EngineIOError as error:
            opened.close(frames.Code.PROTOCOL_ERROR, str(error))
        finally:
            self.close(wait=False, abort=True, reason=self.server.reason.TRANSPORT_CLOSE)

    def _waiting(self) -> Iterable[Packet]:
        """What was to be sent before there was a WebSocket, in order."""
        while not self.queue.empty():
            packet = self.queue.get(block=False)
            if packet is not None and packet.packet_type != NOOP:
                yield packet


def frame_of(packet: Packet) -> bytes:
    """The packet as a frame, made once however many clients get it."""
    made: bytes | None = getattr(packet, "frame", None)
    if made is None:
        # Not by encode() for bytes: what that makes is kept, and spoils the packet for clients that poll.
        made = packet.frame = frames.frame_of(packet.data if packet.binary else packet.encode())
    return made


class Engine(engineio.Server):  # type: ignore[misc]
    """The engine.io server of one process."""

    # Its place in the fleet, which the ids of its sessions begin with: nginx sends their requests here by it.
    place = "0"

    def generate_id(self) -> str:
        """An id that nobody guesses: its place, a dot and 20 characters."""
        return f"{self.place}.{super().generate_id()}"

    def __init__(self, **options: Any) -> None:
        if importlib.util.find_spec("geventwebsocket"):
            raise RuntimeError(
                "the package gevent-websocket is installed and would take WebSockets over, losing events: uninstall it"
            )
        super().__init__(**options)

    def _trigger_event(self, event: str, *arguments: Any, run_async: bool = False) -> Any:
        """Run a handler. That of messages may refuse what the client sent, which ends the connection."""
        if event != "message":
            return super()._trigger_event(event, *arguments, run_async=run_async)
        try:
            return self.handlers["message"](*arguments)
        except MalformedError:
            raise
        except Exception:
            self.logger.exception("a message could not be handled")
            return None

    def _service_task(self) -> None:
        self.service_task_event = self.create_event()
        while not self.service_task_event.wait(timeout=SWEEP):
            now = time.time()
            for connection in list(self.sockets.values()):
                try:
                    if connection.closed:
                        self.sockets.pop(connection.sid, None)
                    elif connection.due is not None and connection.due <= now:
                        connection.look(now)
                except exceptions.EngineIOError:
                    # It ended while it was looked at.
                    continue


# The library makes its connections of what it finds here, and takes no other.
engineio_socket.Socket = Connection
