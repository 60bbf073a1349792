"""HTTP/1.1 over TLS with as little work a request as can be: the generator shares the machine with what it measures."""

from __future__ import annotations

import select
from typing import Any, NamedTuple

import gevent
from gevent import socket, ssl

# Longer than nginx tries (10 s of retries, then one wait of 9 s): what takes longer is a failure.
TIMEOUT = 25.0
LARGEST_HEAD = 32_768


class NoAnswer(Exception):
    """No whole answer came; whether the request was carried out is not known."""


class Cut(Exception):
    """The other side has ended the connection."""


class Stale(NoAnswer):
    """A connection from before turned out to be closed: not a byte came back on it."""


class Answer(NamedTuple):
    """A whole answer."""

    status: int
    head: bytes
    body: bytes

    def says(self, header: bytes) -> bool:
        """Whether the head has this line, in lower case."""
        return b"\r\n" + header in self.head


class Connection:
    """One client's connection, kept open between requests and opened anew when it is gone."""

    def __init__(self, host: str, port: int, context: ssl.SSLContext) -> None:
        self._address = (host, port)
        self._context = context
        self._socket: Any = None
        self._heard = 0  # bytes of the present answer
        self.reopened = 0

    def request(self, head: bytes, body: bytes = b"", *, repeatable: bool = False) -> Answer:
        """Send one request and wait for its answer; raises NoAnswer.

        A server may close a connection in the moment in which something is sent on it; nginx does when it is reloaded.
        What is `repeatable`, a read or a write with a key, then goes once more over another connection, as browsers do
        (RFC 9112, section 9.3.1). Anything else is never sent twice, so it gets a connection of its own to begin with.
        """
        if not repeatable:
            self.close()
        try:
            return self._once(head, body)
        except Stale:
            self.reopened += 1
            return self._once(head, body)

    def _once(self, head: bytes, body: bytes) -> Answer:
        self._heard = 0
        was_open = False
        try:
            with gevent.Timeout(TIMEOUT, NoAnswer(f"nothing within {TIMEOUT:.0f} s")):
                connection, was_open = self._usable()
                connection.sendall(head + body)
                return self._receive(connection)
        except (Cut, OSError, ValueError) as error:
            self.close()
            kind = Stale if was_open and not self._heard and not isinstance(error, ValueError) else NoAnswer
            raise kind(f"{type(error).__name__}: {error}") from error
        except NoAnswer:
            self.close()
            raise

    def close(self) -> None:
        """Give the connection up."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _usable(self) -> tuple[Any, bool]:
        """A connection, and whether it is one from before."""
        # A reload of nginx ends idle connections. Who looks before sending, as browsers do, sees it and opens another.
        if self._socket is not None and _has_something(self._socket.fileno()):
            self.close()
        was_open = self._socket is not None
        if not was_open:
            plain = socket.create_connection(self._address)
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._socket = self._context.wrap_socket(plain, server_hostname=self._address[0])
        return self._socket, was_open

    def _receive(self, connection: Any) -> Answer:
        received = b""
        while (end := received.find(b"\r\n\r\n")) < 0:
            received += _some(connection)
            self._heard = len(received)
            if len(received) > LARGEST_HEAD:
                raise NoAnswer("the head of the answer has no end")
        status_line, _, rest = received[: end + 2].partition(b"\r\n")
        head = b"\r\n" + rest.lower()
        status, length = int(status_line[9:12]), _length(head)
        body = received[end + 4 :]
        while len(body) < length:
            body += _some(connection)
        if b"\r\nconnection: close" in head:
            self.close()
        return Answer(status, head, body)


def _some(connection: Any) -> bytes:
    part: bytes = connection.recv(65_536)
    if not part:
        raise Cut("the connection was closed before the answer was whole")
    return part


def _length(head: bytes) -> int:
    start = head.find(b"\r\ncontent-length:")
    if start >= 0:
        return int(head[start + 17 : head.index(b"\r\n", start + 2)])
    if b"\r\ntransfer-encoding:" in head:
        raise NoAnswer("the answer has no Content-Length, so a cut one would look whole")
    return 0


def _has_something(descriptor: int) -> bool:
    return bool(select.select([descriptor], [], [], 0)[0])


def trusting(certificate: str) -> ssl.SSLContext:
    """TLS that trusts one authority."""
    # Not create_default_context(): that one makes sockets that block the whole process.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(certificate)
    return context
