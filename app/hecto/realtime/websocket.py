"""One WebSocket of gunicorn's gevent worker: read by the greenlet that opened it, written by whoever has news.

Writes go to the socket directly. What the kernel does not take is kept, up to a bound, and goes out when it can: a
client that reads too slowly is cut off, and never gets half a frame.
"""

from __future__ import annotations

import base64
import hashlib
import os
import socket
from collections import deque
from collections.abc import Callable, Generator, Iterator
from contextlib import suppress
from typing import Any

import gevent
from gevent import get_hub
from gevent.event import Event
from gevent.monkey import get_original

from hecto.realtime import frames
from hecto.realtime.frames import Code, Receiver, ViolationError

# RFC 6455, section 1.3.
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
# Bytes that wait for one client before it counts as too slow: some hundred events, and far below what fills a host.
BACKLOG = 1_000_000
# How long a client has to answer that the connection ends, in seconds.
FAREWELL = 2.0
# How long a client may take for half of a backlog, in seconds.
PATIENCE = 15.0
_READ = 16384
# libev's words for "can be read" and "can be written".
_READABLE, _WRITABLE = 1, 2
_PlainSocket = get_original("socket", "socket")


class WebSocket:
    """The connection, after the handshake that `accept` answers."""

    def __init__(self, connection: Any, limit: int, backlog: int) -> None:
        # A file of its own, since gunicorn closes the one of the request; and a plain socket, since gevent's would wait
        # where this one says that it cannot take more.
        self._plain = _PlainSocket(fileno=os.dup(connection.fileno()))
        self._plain.setblocking(False)
        self._hub = get_hub()
        self._readable = self._hub.loop.io(self._plain.fileno(), _READABLE)
        self._receiver = Receiver(limit)
        self._allowed = backlog
        self._waiting: deque[memoryview] = deque()
        self._waiting_size = 0
        self._writable: Any = None
        self._emptied: Event | None = None
        self._ending = False
        self.open = True

    def messages(self) -> Generator[str | bytes, None, None]:
        """What the client says, until the connection ends, for whatever reason."""
        try:
            # The client may be gone at any word.
            with suppress(OSError):
                try:
                    yield from self._messages()
                    self._finish()
                except ViolationError as violation:
                    self.close(violation.code, str(violation))
                    self._finish()
                    self._hear_out()
        finally:
            self.end()

    def send(self, frame: bytes) -> None:
        """Send a whole frame; to a connection that has ended, nothing happens."""
        if not self.open or self._ending:
            return
        sent = 0
        if not self._waiting:
            try:
                sent = self._plain.send(frame)
            except BlockingIOError:
                pass
            except OSError:
                self.abort()
                return
        if sent < len(frame):
            self._keep(memoryview(frame)[sent:])

    def drain(self) -> None:
        """Wait until the client has read most of what it was sent, or is too slow."""
        if self._waiting_size > self._allowed // 2:
            self._wait_until_empty(PATIENCE)

    def close(self, code: int = Code.NORMAL, reason: str = "") -> None:
        """Say that the connection ends; the client's answer, or its silence, ends it."""
        if not self.open or self._ending:
            return
        self.send(frames.closing(code, reason))
        self._ending = True
        gevent.spawn_later(FAREWELL, self.abort)

    def abort(self) -> None:
        """End the connection now; its reader hears of it."""
        if self.open:
            self.open = False
            # It may have ended by itself.
            with suppress(OSError):
                self._plain.shutdown(socket.SHUT_RDWR)

    def end(self) -> None:
        """End the connection, if it has not ended, and give back what it holds."""
        self.abort()
        self._forget()
        self._readable.close()
        self._plain.close()

    def _receive(self) -> bytes:
        while True:
            # Waits first: what there was has been read.
            self._hub.wait(self._readable)
            try:
                data: bytes = self._plain.recv(_READ)
            except BlockingIOError:
                continue
            return data

    def _messages(self) -> Iterator[str | bytes]:
        while self.open and (data := self._receive()):
            for opcode, payload in self._receiver.feed(data):
                if opcode in (frames.TEXT, frames.BINARY):
                    if not self._ending:
                        yield payload
                elif opcode == frames.PING:
                    self.send(frames.frame(frames.PONG, payload))  # type: ignore[arg-type]
                elif opcode == frames.CLOSE:
                    # What was answered is the end; the client closes the connection first (section 7.1.1).
                    self.close(frames.close_code(payload))  # type: ignore[arg-type]
                    return

    def _finish(self) -> None:
        """Let what waits go out, as far as the client takes it in time, and then the end."""
        if self._waiting:
            self._wait_until_empty(FAREWELL)
        if self.open:
            self._plain.shutdown(socket.SHUT_WR)

    def _wait_until_empty(self, seconds: float) -> None:
        self._emptied = Event()
        self._emptied.wait(seconds)

    def _hear_out(self) -> None:
        """Read what a client still sends that was told why it is cut off, or the kernel takes the words back (RST)."""
        with gevent.Timeout(FAREWELL, False), suppress(OSError):
            while self._receive():
                pass

    def _keep(self, rest: memoryview) -> None:
        self._waiting.append(rest)
        self._waiting_size += len(rest)
        if self._waiting_size > self._allowed:
            self.abort()
        elif self._writable is None:
            self._writable = get_hub().loop.io(self._plain.fileno(), _WRITABLE)
            self._writable.start(self._go_on)

    def _go_on(self) -> None:
        """Send what waits, as far as the kernel takes it; called by the event loop, which must not be made to wait."""
        try:
            while self._waiting:
                sent = self._plain.send(self._waiting[0])
                self._waiting_size -= sent
                if sent < len(self._waiting[0]):
                    self._waiting[0] = self._waiting[0][sent:]
                    return
                self._waiting.popleft()
        except BlockingIOError:
            return
        except OSError:
            self.abort()
        self._forget()
        if self._emptied is not None:
            self._emptied.set()

    def _forget(self) -> None:
        """Stop to ask whether the socket can be written; a watcher that stays holds the number of a closed file."""
        watcher, self._writable = self._writable, None
        if watcher is not None:
            watcher.stop()
            watcher.close()


def hand_over(work: Callable[[], None]) -> None:
    """Have the greenlet of a connection do some work when gunicorn has let go of the request.

    The request, its headers and buffers, and the stack that handled it are half of what a connection would hold.
    """
    gevent.getcurrent().afterwards = work


def handed_over() -> Callable[[], None] | None:
    """What this greenlet is to do afterwards, if anything; for the worker."""
    work: Callable[[], None] | None = getattr(gevent.getcurrent(), "afterwards", None)
    return work


def accept(environ: dict[str, Any], limit: int, backlog: int = BACKLOG) -> WebSocket:
    """Answer the handshake of a request that the gatekeeper let through (RFC 6455, section 4.2.2); raises OSError.

    `limit` is for one message of the client, `backlog` for what waits for it, both in bytes.
    """
    connection = environ["gunicorn.socket"]
    key = environ["HTTP_SEC_WEBSOCKET_KEY"].encode()
    # What the protocol asks for, and no secret.
    answer = base64.b64encode(hashlib.sha1(key + _GUID, usedforsecurity=False).digest())
    if connection.family != socket.AF_UNIX:
        # Small frames must not wait for the answer to the one before.
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.sendall(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: " + answer + b"\r\n\r\n"
    )
    return WebSocket(connection, limit, backlog)
