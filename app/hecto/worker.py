"""gunicorn's gevent worker, one that leaves as soon as it has nothing in hand, and tells systemd that it lives.

gunicorn's own looks once a second whether it should stop and whether it may, which makes two idle seconds of every
restart: in a roll of a hundred instances, minutes. And it tells its arbiter alone that it lives: if both are stopped,
as by SIGSTOP, nobody would ever know.
"""

from __future__ import annotations

import os
import socket
from functools import partial
from typing import Any

import gevent
from gevent.event import Event
from gevent.pool import Pool
from gevent.server import StreamServer
from gunicorn.glogging import Logger
from gunicorn.workers.ggevent import GeventWorker

from hecto.realtime.websocket import handed_over

# How often the arbiter hears that the worker lives, in seconds; its patience is `timeout` of the configuration.
PULSE = 1.0
# How often a leaving worker looks whether its last requests have ended.
LOOK = 0.02


class InstanceLogger(Logger):  # type: ignore[misc]
    """Leaves what gunicorn says to the log of the instance."""

    def setup(self, cfg: Any) -> None:
        """Take no handler of its own."""
        super().setup(cfg)
        self.error_log.handlers.clear()
        self.error_log.propagate = True


class InstanceWorker(GeventWorker):  # type: ignore[misc]
    """Serves gunicorn's listeners with gevent, without TLS, which nginx ends."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._leaving = Event()

    def leave(self) -> None:
        """Stop accepting, finish what is in hand, end."""
        self.alive = False
        self._leaving.set()

    def run(self) -> None:
        """Serve until told to leave."""
        servers = [self._serve(listener) for listener in self.sockets]
        with _Watchdog() as watchdog:
            while self.alive:
                self.notify()
                watchdog.stroke()
                self._leaving.wait(PULSE)
        for server in servers:
            server.close()
        with gevent.Timeout(self.cfg.graceful_timeout, False):
            while any(server.pool.free_count() < server.pool.size for server in servers):
                self.notify()
                gevent.sleep(LOOK)
            return
        self.log.warning("requests that took longer than %d s are cut off", self.cfg.graceful_timeout)
        for server in servers:
            server.stop(timeout=1)

    def handle(self, listener: Any, client: Any, address: Any) -> None:
        """Handle a connection, also when it goes on as something else than requests."""
        super().handle(listener, client, address)
        if work := handed_over():
            work()

    def _serve(self, listener: Any) -> StreamServer:
        listener.setblocking(1)
        server = StreamServer(listener, handle=partial(self.handle, listener), spawn=Pool(self.worker_connections))
        server.start()
        return server


class _Watchdog:
    """systemd's: it restarts a unit that does not stroke it often enough (sd_notify(3)); without systemd, nothing."""

    def __init__(self) -> None:
        path = os.environ.get("NOTIFY_SOCKET", "")
        # An address that starts with @ is in the abstract name space.
        self._address = path.replace("@", "\0", 1) if path.startswith("@") else path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)

    def __enter__(self) -> _Watchdog:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def stroke(self) -> None:
        """Say that this process still does its work."""
        if self._address:
            self._socket.sendto(b"WATCHDOG=1", self._address)
