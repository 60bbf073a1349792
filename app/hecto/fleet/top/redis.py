"""Redis, asked for INFO over one connection that stays open, as the user of the application.

Each of several hosts tells of its own. The way of the instances leads to the primary wherever one asks.
"""

import socket
import time
from typing import Any

from hecto.fleet.layout import Layout
from hecto.fleet.top.settings import Settings

TIMEOUT = 2.0


class RedisError(Exception):
    """Redis gave no usable answer; the message says why."""


class Redis:
    """The Redis that runs on this host; where none does, the one that its instances use."""

    def __init__(self, layout: Layout, settings: Settings) -> None:
        self._password = layout.secrets / "redis-password"
        self._settings = settings
        self._connection: socket.socket | None = None
        self._before: tuple[float, dict[str, str]] | None = None

    def look(self) -> dict[str, Any] | None:
        """The state as plain values; None where no Redis belongs to this host."""
        if not self._settings.redis_address:
            return None
        try:
            info = parse(self._info())
        except (OSError, RedisError) as error:
            self._close()
            self._before = None
            return {"state": "down", "why": _why(error), **self._which()}
        now, before = time.monotonic(), self._before
        self._before = (now, info)
        passed = now - before[0] if before else 0.0
        return {"state": "up", **self._which(), **figures(info, before[1] if before else None, passed)}

    def _which(self) -> dict[str, bool]:
        return {"here": self._settings.redis_here, "of_several": bool(self._settings.host)}

    def _info(self) -> str:
        if self._connection is None:
            self._connect()
        self._send("INFO")
        return self._answer()

    def _connect(self) -> None:
        address = self._settings.redis_address
        assert address is not None
        if isinstance(address, str):
            self._connection = socket.socket(socket.AF_UNIX)
            self._connection.settimeout(TIMEOUT)
            self._connection.connect(address)
        else:
            self._connection = socket.create_connection(address, TIMEOUT)
        self._send("AUTH", self._settings.redis_user, self._password.read_text().strip())
        self._answer()

    def _send(self, *words: str) -> None:
        assert self._connection is not None
        parts = [f"${len(word.encode())}\r\n{word}\r\n" for word in words]
        self._connection.sendall(f"*{len(words)}\r\n{''.join(parts)}".encode())

    def _answer(self) -> str:
        """One answer: a word, an error, or a text of a given length. No other kind comes here."""
        assert self._connection is not None
        deadline = time.monotonic() + TIMEOUT
        heard = b""
        wanted: int | None = None
        while wanted is None or len(heard) < wanted:
            self._connection.settimeout(max(0.01, deadline - time.monotonic()))
            piece = self._connection.recv(65536)
            if not piece:
                raise RedisError("it closed the connection")
            heard += piece
            head, found, rest = heard.partition(b"\r\n")
            if wanted is None and found:
                kind, text = head[:1], head[1:].decode(errors="replace")
                if kind == b"-":
                    raise RedisError(text)
                if kind != b"$" or int(text) < 0:
                    return text
                wanted = len(head) + 2 + int(text) + 2
        return rest[:-2].decode(errors="replace")

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def parse(info: str) -> dict[str, str]:
    """The lines of INFO by name."""
    return dict(line.split(":", 1) for line in info.splitlines() if ":" in line and not line.startswith("#"))


def figures(info: dict[str, str], before: dict[str, str] | None, passed: float) -> dict[str, Any]:
    """What a person wants to know of INFO; rates are of the time since the INFO before, where there is one."""

    def of(name: str, source: dict[str, str] = info) -> int:
        text = source.get(name, "0")
        return int(text) if text.lstrip("-").isdigit() else 0

    def since(name: str) -> int:
        return max(0, of(name) - of(name, before)) if before else 0

    if before and before.get("run_id") != info.get("run_id"):
        before = None
    looked, hits = since("keyspace_hits") + since("keyspace_misses"), since("keyspace_hits")
    if not looked:
        looked, hits = of("keyspace_hits") + of("keyspace_misses"), of("keyspace_hits")
    replica = info.get("role") == "slave"
    return {
        "version": info.get("redis_version", "?"),
        "role": "replica" if replica else "primary",
        "clients": of("connected_clients"),
        "most_clients": of("maxclients"),
        "operations": since("total_commands_processed") / passed if before else of("instantaneous_ops_per_sec"),
        "memory": of("used_memory"),
        "most_memory": of("maxmemory") or None,
        "hit": round(hits / looked, 4) if looked else None,
        "rejected": of("rejected_connections"),
        "rejected_now": since("rejected_connections"),
        "evicted_now": since("evicted_keys"),
        "aof": _aof(info),
        "rdb": info.get("rdb_last_bgsave_status", "ok"),
        "loading": info.get("loading") == "1",
        "replicas": of("connected_slaves"),
        "link": info.get("master_link_status") if replica else None,
        "behind": max(0, of("master_last_io_seconds_ago")) if replica else None,
    }


def _aof(info: dict[str, str]) -> str:
    if info.get("aof_enabled") != "1":
        return "off"
    states = (info.get("aof_last_write_status", "ok"), info.get("aof_last_bgrewrite_status", "ok"))
    return "ok" if states == ("ok", "ok") else "failing"


def _why(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return f"no answer within {TIMEOUT:g} s"
    return str(getattr(error, "strerror", None) or error)
