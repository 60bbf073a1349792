"""A way to a server on which connections can die without anybody being told."""

from __future__ import annotations

import selectors
import socket
import threading
from contextlib import suppress


class BlackHole:
    """Passes TCP connections on. Those that it has swallowed stay open and pass nothing on; later ones do."""

    def __init__(self, port: int) -> None:
        self._target = ("127.0.0.1", port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ)
        # Each end of a connection and its other end.
        self._ends: dict[socket.socket, socket.socket] = {}
        self._orders, self._ordered = socket.socketpair()
        self._selector.register(self._ordered, selectors.EVENT_READ)
        self._swallowed = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def swallow(self) -> None:
        """From here on nothing passes on the connections that there are."""
        self._swallowed.clear()
        self._orders.send(b"s")
        assert self._swallowed.wait(5)

    def stop(self) -> None:
        self._orders.send(b"q")
        self._thread.join(10)
        for each in (*self._ends, self._listener, self._orders, self._ordered, self._selector):
            each.close()

    def _run(self) -> None:
        while True:
            for key, _ in self._selector.select():
                if key.fileobj is self._listener:
                    self._accept()
                elif key.fileobj is not self._ordered:
                    self._pass_on(key.fileobj)
                elif self._ordered.recv(1) == b"s":
                    self._forget()
                else:
                    return

    def _accept(self) -> None:
        near, _ = self._listener.accept()
        far = socket.create_connection(self._target)
        self._ends |= {near: far, far: near}
        for end in (near, far):
            self._selector.register(end, selectors.EVENT_READ)

    def _forget(self) -> None:
        for end in self._ends:
            with suppress(KeyError):
                self._selector.unregister(end)
        self._swallowed.set()

    def _pass_on(self, end: socket.socket) -> None:
        other = self._ends[end]
        try:
            data = end.recv(65536)
            other.sendall(data)
        except OSError:
            data = b""
        if not data:
            self._selector.unregister(end)
            with suppress(OSError):
                other.shutdown(socket.SHUT_WR)
