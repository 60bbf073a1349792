"""What an instance does when it is asked to emit: events at a steady rate, each with its number and its moment."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl

import orjson

# With the rest of the payload about 250 bytes of JSON, as an event about a document is.
TEXT = "x" * 190
EVENT = "told"


def room_name(number: int) -> str:
    """What a room of the benchmark is called at the server."""
    return f"bench-{number}"


def emit(query: str, send: Callable[[str, dict[str, Any]], None]) -> bytes:
    """Send `count` events, `rate` a second, to `rooms` rooms in turns; in each they are numbered from `first` on.

    Returns how many seconds it took, as JSON. Every server does the same, node/server.mjs in its own language.
    """
    asked = {name: int(value) for name, value in parse_qsl(query)}
    began = time.monotonic()
    for number in range(asked["count"]):
        # Against the beginning and not the event before: a late one does not make all others late.
        early = began + number / asked["rate"] - time.monotonic()
        if early > 0:
            time.sleep(early)
        turn, room = divmod(number, asked["rooms"])
        payload = {"room": room, "seq": asked["first"] + turn, "at": time.monotonic_ns(), "text": TEXT}
        send(room_name(room), payload)
    return orjson.dumps({"seconds": time.monotonic() - began})
