"""The app with addresses by which tests play the part of its modules: send to rooms, and move sockets between them."""

from __future__ import annotations

import base64
import gc
import os
from collections.abc import Callable
from typing import Any

import orjson
from greenlet import greenlet

from hecto.core.outbox import Message
from hecto.core.store import StoreUnavailable
from hecto.wsgi import app as hecto

realtime = hecto.extensions["realtime"]
server = realtime.socketio.server
# nginx finds an instance by the number that its sessions begin with. Ports are shared with other runs, these are not.
server.eio.instance = int(os.environ["STAGE_NUMBER"])


def emit(asked: dict[str, Any]) -> dict[str, Any]:
    """Send events, all at once."""
    realtime.bus.send([Message(one["room"], one["event"], payload_of(one)) for one in asked["messages"]])
    return {}


def payload_of(message: dict[str, Any]) -> dict[str, Any]:
    """The payload, with an attachment of bytes when the message brings one."""
    attachment = message.get("attachment")
    more = {} if attachment is None else {"attachment": base64.b64decode(attachment)}
    return {**message["payload"], **more}


def enter(asked: dict[str, Any]) -> dict[str, Any]:
    server.enter_room(here(asked["sid"]), asked["room"])
    return {}


def leave(asked: dict[str, Any]) -> dict[str, Any]:
    server.leave_room(here(asked["sid"]), asked["room"])
    return {}


def rooms(asked: dict[str, Any]) -> dict[str, Any]:
    return {"rooms": server.rooms(here(asked["sid"]))}


def close(asked: dict[str, Any]) -> dict[str, Any]:
    """End the connection below Socket.IO, as a drain does."""
    connection = server.eio.sockets[server.manager.eio_sid_from_sid(here(asked["sid"]), "/")]
    connection.close(wait=False, abort=True)
    return {}


def held(asked: dict[str, Any]) -> dict[str, Any]:
    gc.collect()
    return {
        "files": len(os.listdir("/proc/self/fd")),
        "greenlets": sum(isinstance(one, greenlet) and not one.dead for one in gc.get_objects()),
        "sessions": len(server.eio.sockets),
        "environments": len(server.environ),
    }


def here(sid: str) -> str:
    """The id of a socket of this instance; raises LookupError for one that is elsewhere or gone."""
    if not server.manager.is_connected(sid, "/"):
        raise LookupError(sid)
    return sid


ACTIONS: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    f"/stage/{action.__name__}": action for action in (emit, enter, leave, rooms, close, held)
}


def app(environ: dict[str, Any], start_response: Any) -> Any:
    action = ACTIONS.get(environ["PATH_INFO"])
    if action is None:
        return hecto(environ, start_response)
    body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    try:
        status, answer = "200 OK", action(orjson.loads(body or b"{}"))
    except LookupError:
        status, answer = "404 Not Found", {}
    except StoreUnavailable:
        status, answer = "503 Service Unavailable", {}
    start_response(status, [("Content-Type", "application/json")])
    return [orjson.dumps(answer)]
