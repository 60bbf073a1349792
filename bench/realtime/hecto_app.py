"""Hecto with what the benchmark needs beside it: rooms that anybody may enter, and an address that emits to them."""

from __future__ import annotations

import gc
from typing import Any

from bench.realtime.emitting import EVENT, emit
from hecto.core.outbox import Message
from hecto.wsgi import app as hecto

realtime = hecto.extensions["realtime"]
server = realtime.socketio.server


@server.on("enter")  # type: ignore[untyped-decorator]
def enter(sid: str, room: str) -> str:
    """Put a socket into a room; the answer tells its client that it is in."""
    server.enter_room(sid, room)
    return room


def app(environ: dict[str, Any], start_response: Any) -> Any:
    """The benchmark's two addresses, or Hecto."""
    match environ["PATH_INFO"]:
        case "/bench/emit":
            answer = emit(
                environ["QUERY_STRING"], lambda room, payload: realtime.bus.send([Message(room, EVENT, payload)])
            )
        case "/bench/settle":
            gc.collect()
            answer = b"{}"
        case _:
            return hecto(environ, start_response)
    start_response("200 OK", [("Content-Type", "application/json")])
    return [answer]
