"""One look at everything on this host, as plain values: what is drawn, and what `--json` prints."""

import socket
import time
from pathlib import Path
from typing import Any

from hecto.fleet.layout import Layout
from hecto.fleet.supervisor import Supervisor
from hecto.fleet.top import problems, settings
from hecto.fleet.top.fleet import AT_ONCE, Fleet
from hecto.fleet.top.machine import Machine
from hecto.fleet.top.postgres import SELDOM, Postgres
from hecto.fleet.top.redis import Redis

EVERYBODY = 1000
NGINX = Path("/run/nginx.pid")
# Counting connections reads one line each.
NGINX_SECONDS = 10.0
_EDGE_PORTS = {443, 80}
_ESTABLISHED = "01"


class Looker:
    """Looks again and again, and knows what was before."""

    def __init__(self, layout: Layout, supervisor: Supervisor, *, whole: bool = False) -> None:
        """With `whole` every look is at everything, for somebody who looks no more than once."""
        known = settings.read(layout)
        self._host = known.host or socket.gethostname()
        self._machine = Machine()
        self._fleet = Fleet(layout, supervisor, EVERYBODY if whole else AT_ONCE)
        self._postgres = Postgres(layout, known, 0.0 if whole else SELDOM)
        self._redis = Redis(layout, known)
        self._connections: dict[str, Any] | None = None
        self._connections_at = -NGINX_SECONDS

    def look(self) -> dict[str, Any]:
        """This moment, with rates since the look before."""
        now: dict[str, Any] = {
            "host": self._host,
            "at": round(time.time(), 3),
            "machine": self._machine.look(),
            "fleet": self._fleet.look(),
            "postgres": self._postgres.look(),
            "redis": self._redis.look(),
            "nginx": self._nginx(),
        }
        return {**now, "problems": problems.find(now)}

    def _nginx(self) -> dict[str, Any] | None:
        now = time.monotonic()
        if now - self._connections_at >= NGINX_SECONDS:
            self._connections_at = now
            self._connections = {"connections": edge_connections()} if NGINX.exists() else None
        return self._connections


def edge_connections(net: Path = Path("/proc/net")) -> int:
    """Connections from outside that are open at the ports of the edge, WebSockets among them."""
    count = 0
    for name in ("tcp", "tcp6"):
        try:
            lines = (net / name).read_text().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            words = line.split(None, 4)
            count += words[3] == _ESTABLISHED and int(words[1].rsplit(":", 1)[1], 16) in _EDGE_PORTS
    return count
