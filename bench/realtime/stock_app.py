"""Flask-SocketIO as its documentation sets it up: several processes, with Redis as the message queue between them."""

from __future__ import annotations

import gc
import os

import socketio as socketio_library
from flask import Flask, request
from flask_socketio import SocketIO, join_room

from bench.realtime.emitting import EVENT, emit

app = Flask("stock")
# What `message_queue="redis://..."` makes; of a unix socket Flask-SocketIO would not know that it is Redis.
socketio = SocketIO(app, async_mode="gevent", client_manager=socketio_library.RedisManager(os.environ["BENCH_REDIS"]))


@socketio.on("enter")  # type: ignore[untyped-decorator]
def enter(room: str) -> str:
    """Put a socket into a room; the answer tells its client that it is in."""
    join_room(room)
    return room


@app.get("/bench/emit")
def emit_events() -> bytes:
    """Emit what the query asks for."""
    return emit(request.query_string.decode(), lambda room, payload: socketio.emit(EVENT, payload, to=room))


@app.get("/bench/settle")
def settle() -> bytes:
    """Collect garbage."""
    gc.collect()
    return b"{}"
