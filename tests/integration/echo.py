"""The app with some addresses more, for tests of the transport: what it says back, and what it holds."""

from __future__ import annotations

import gc
import os
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import orjson
from greenlet import greenlet

from hecto.realtime import frames, listener, websocket
from hecto.realtime.sessions import INSTANCE
from hecto.wsgi import app as hecto

# As large as the largest message of the conformance cases, which read nothing while they send.
LARGEST = 16 * 1024 * 1024

realtime = hecto.extensions["realtime"]
server = realtime.socketio.server
listener.LINGER = 0.5
listener.BEAT, listener.DEAF = 0.3, 1.0
listener.KNOWN = float(os.environ.get("ECHO_KNOWN", listener.KNOWN))
# A client that is gone is to be noticed while a test waits, unless the test has more clients than answer in a second.
server.eio.ping_interval = server.eio.ping_timeout = int(os.environ.get("ECHO_PING", "1"))


@server.on("say")
def say(sid: str, content: Any) -> None:
    server.emit("said", content, to=sid, ignore_queue=True)


def tables() -> dict[str, int]:
    """How many entries there are of what is kept for clients and their rooms."""
    bus = realtime.bus
    one_each = {
        "sessions": bus.here,
        "members": bus._members,
        "callbacks": bus.callbacks,
        "heard": bus.listener._rooms,
        "late": bus.listener._late,
        "present": realtime.presence._here,
        "changed": realtime.presence._changed,
        "connections": server.eio.sockets,
        "environments": server.environ,
        "connecting": server._connecting,
        "halves": server._binary_packet,
    }
    # The library's own, which it has for each namespace.
    in_namespaces = {
        "library rooms": [members for rooms in bus.rooms.values() for members in rooms.values()],
        "disconnecting": bus.pending_disconnect.values(),
        "pre-connected": bus.pending_connect.values(),
    }
    sizes = {name: sum(map(len, tables)) for name, tables in in_namespaces.items()}
    return sizes | {name: len(table) for name, table in one_each.items()}


def resident() -> int:
    """Bytes of memory that are in use."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def app(environ: dict[str, Any], start_response: Any) -> Any:
    match environ["PATH_INFO"]:
        case "/echo":
            asked = parse_qs(environ["QUERY_STRING"])
            opened = websocket.accept(environ, LARGEST, backlog=int(asked.get("backlog", [2 * LARGEST])[0]))
            for message in opened.messages():
                opened.send(frames.frame_of(message))
            raise StopIteration
        case "/deafen":
            # As if Redis had forgotten that this instance listens: the connection stays, and nothing comes.
            heard = realtime.bus.listener
            heard._channels.unsubscribe(INSTANCE + heard.name)
            start_response("204 No Content", [])
            return []
        case "/cut":
            # As if the network had broken; it listens anew at once.
            realtime.bus.listener._channels.end()
            start_response("204 No Content", [])
            return []
        case "/held":
            gc.collect()
            held = {
                "files": len(os.listdir("/proc/self/fd")),
                "greenlets": sum(isinstance(one, greenlet) and not one.dead for one in gc.get_objects()),
                "sessions": len(server.eio.sockets),
                "environments": len(server.environ),
            }
            start_response("200 OK", [("Content-Type", "application/json")])
            return [orjson.dumps(held)]
        case "/kept":
            gc.collect()
            start_response("200 OK", [("Content-Type", "application/json")])
            return [orjson.dumps({"tables": tables(), "resident": resident()})]
        case _:
            return hecto(environ, start_response)
