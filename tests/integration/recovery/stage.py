"""The app with addresses by which tests play the part of its modules: send to rooms, and move sockets between them."""

from __future__ import annotations

import base64
import gc
import os
from collections.abc import Callable
from typing import Any

import orjson
from gevent.event import Event
from greenlet import greenlet

from hecto.core.outbox import Message
from hecto.core.store import StoreUnavailable
from hecto.wsgi import app as hecto

realtime = hecto.extensions["realtime"]
server = realtime.socketio.server
# nginx finds an instance by the place that its sessions begin with. Ports are shared with other runs, these are not.
server.eio.place = os.environ["STAGE_PLACE"]


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


def until(asked: dict[str, Any]) -> dict[str, Any]:
    """When a socket needs another access token."""
    return {"until": server.manager.here[here(asked["sid"])].until}


def run_out(asked: dict[str, Any]) -> dict[str, Any]:
    """Have the access token of a socket run out now."""
    server.manager.here[here(asked["sid"])].until = 0
    return {}


def ping(asked: dict[str, Any]) -> dict[str, Any]:
    """Ping a socket now."""
    connection = server.manager.here[here(asked["sid"])].connection
    connection.look(connection.due)
    return {}


def keep(asked: dict[str, Any]) -> dict[str, Any]:
    """Say that the clients are there, as every half minute."""
    server.manager.keep_once()
    return {}


def held(asked: dict[str, Any]) -> dict[str, Any]:
    gc.collect()
    return {
        "files": len(os.listdir("/proc/self/fd")),
        "greenlets": sum(isinstance(one, greenlet) and not one.dead for one in gc.get_objects()),
        "sessions": len(server.eio.sockets),
        "environments": len(server.environ),
    }


def shut(asked: dict[str, Any]) -> dict[str, Any]:
    """Keep whoever connects from going on behind a door, until it is opened."""
    doors[asked["door"]].clear()
    return {}


def unlock(asked: dict[str, Any]) -> dict[str, Any]:
    """Open all doors."""
    for door in doors.values():
        door.set()
    return {}


def waiting(asked: dict[str, Any]) -> dict[str, Any]:
    """Which doors somebody waits behind."""
    return {"doors": [name for name, count in knocking.items() if count]}


def here(sid: str) -> str:
    """The id of a socket of this instance; raises LookupError for one that is elsewhere or gone."""
    if not server.manager.is_connected(sid, "/"):
        raise LookupError(sid)
    return sid


_ACTIONS = (emit, enter, leave, rooms, close, until, run_out, ping, keep, held, shut, unlock, waiting)
ACTIONS: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {f"/stage/{each.__name__}": each for each in _ACTIONS}

# Moments on the way in at which tests have something happen: it is known who comes, but no room is heard yet; and the
# rooms are heard, but the client has not been told.
doors = {"known": Event(), "heard": Event()}
knocking = dict.fromkeys(doors, 0)
for each in doors.values():
    each.set()


def behind(name: str, work: Callable[..., Any], *, first: bool) -> Callable[..., Any]:
    """Work with a door behind it, or before it."""

    def passed(*arguments: Any) -> Any:
        done = work(*arguments) if first else None
        knocking[name] += 1
        doors[name].wait(10)
        knocking[name] -= 1
        return done if first else work(*arguments)

    return passed


server.admit = behind("known", server.admit, first=True)
server._welcome = behind("heard", server._welcome, first=False)


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
