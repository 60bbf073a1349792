"""Answers that leave in one piece: gunicorn's own sends the head and the body apart.

An instance that is killed between the two has answered 200 with nothing behind it, and nginx, which has passed the head
on, can no longer repeat the request elsewhere. Joined, an answer is either there or not at all, as far as it fits into
the buffer of the socket (about 200 kB for a unix socket); and it is one system call less.
"""

from __future__ import annotations

import gunicorn.http.wsgi
from gunicorn import util

_plain = gunicorn.http.wsgi.Response


class OnePieceResponse(_plain):  # type: ignore[misc, valid-type]
    """Holds the head back until the first part of the body, or the end."""

    headers_sent: bool
    _head = b""

    def send_headers(self) -> None:
        """Prepare the head; it counts as sent, since what follows goes behind it."""
        if self.headers_sent:
            return
        lines = [*self.default_headers(), *(f"{name}: {value}\r\n" for name, value in self.headers), "\r\n"]
        self._head = "".join(lines).encode("latin-1")
        self.headers_sent = True

    def _emit_body(self, data: bytes) -> None:
        if self.chunked:
            data = b"%X\r\n%s\r\n" % (len(data), data)
        util.write(self.sock, self._head + data)
        self._head = b""

    def can_sendfile(self) -> bool:
        """No: nginx serves the files, and a file would pass by the head."""
        return False

    def close(self) -> None:
        """Send what is left."""
        self.send_headers()
        ending = b"0\r\n\r\n" if self.chunked else b""
        if self._head or ending:
            util.write(self.sock, self._head + ending)
        self._head = b""


def install() -> None:
    """Have gunicorn's workers answer in one piece."""
    gunicorn.http.wsgi.Response = OnePieceResponse
