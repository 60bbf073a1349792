"""This process as one of the fleet: whether it takes traffic, what it has in hand, and how it is told to drain.

Requests are counted and refused here, in front of Flask: an instance that does not take traffic answers 503 before any
work, so that nginx may safely give even a POST to the next instance.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterable, Sequence
from enum import StrEnum
from functools import partial
from typing import Any

import orjson
from werkzeug.wsgi import ClosingIterator

from hecto.core import logs, trail
from hecto.core.trail import Trail
from hecto.settings import Settings

StartResponse = Callable[..., Any]
Header = tuple[str, str]
WsgiApp = Callable[[dict[str, Any], StartResponse], Iterable[bytes]]

# Tells nginx, for its log, who asked; it goes no further.
USER_HEADER = "X-Hecto-User"

log = logging.getLogger(__name__)


class State(StrEnum):
    """Whether this instance takes new requests."""

    STARTING = "starting"
    # Started by a roll, which looks whether this release works before anybody's request reaches it.
    HELD = "held"
    READY = "ready"
    DRAINING = "draining"
    # It takes requests, but its sockets do not hear of what happens at the others.
    DEAF = "deaf"


class Instance:
    """The state of this process that needs no database and no Redis to tell."""

    def __init__(self, settings: Settings) -> None:
        self.name = settings.instance_name
        self.release = settings.release
        self.control_directory = str(settings.run_directory / "control") + "/"
        self.state = State.STARTING
        self.slow_seconds = settings.slow_milliseconds / 1000
        self.in_flight = 0
        self.requests = 0
        self.errors = 0
        self.started = time.monotonic()
        self.count_websockets: Callable[[], int] = lambda: 0
        self.move_websockets: Callable[[], None] = lambda: None
        # Whether it does not hear of what happens at the others.
        self.deaf: Callable[[], bool] = lambda: False
        # What the real-time server says of itself.
        self.describe_live: Callable[[], dict[str, Any]] = dict
        self.check: Callable[[], list[str]] = list
        self._hold = settings.run_directory / "control" / f"{settings.instance}.hold"

    @property
    def uptime(self) -> float:
        """Seconds since this process began to serve."""
        return round(time.monotonic() - self.started, 3)

    def begin(self) -> None:
        """Take traffic from now on, unless a roll wants to look first; called in the worker, after the fork."""
        self.started = time.monotonic()
        self.state = State.HELD if self._hold.exists() else State.READY

    def resume(self) -> None:
        """Take traffic."""
        self.state = State.READY

    def drain(self) -> None:
        """Refuse new requests, finish those in hand, send the open sockets elsewhere."""
        self.state = State.DRAINING
        self.move_websockets()

    def count(self, status: str) -> None:
        """Count an answer. A 503 or 504 says that something behind this release is away, not that it is broken."""
        self.requests += 1
        if status.startswith("5") and status[:3] not in ("503", "504"):
            self.errors += 1

    def describe(self) -> dict[str, Any]:
        """What the fleet tool reads over the control socket."""
        return {
            "instance": self.name,
            "state": self.state,
            "release": self.release,
            "uptime": self.uptime,
            "in_flight": self.in_flight,
            "websockets": self.count_websockets(),
            "requests": self.requests,
            "errors": self.errors,
            "pid": os.getpid(),
        }


class Gatekeeper:
    """WSGI middleware that counts requests, refuses them while draining, and answers the control socket."""

    def __init__(self, app: WsgiApp, instance: Instance) -> None:
        self.app = app
        self.instance = instance

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        if path.startswith("/control/"):
            return self._control(environ, start_response)
        if path == "/api/ready":
            return self._ready(start_response)
        if self.instance.state is not State.READY and not self._from_the_host(environ):
            return self._refuse(environ, start_response)
        if path.startswith("/socket.io/") and environ.get("HTTP_UPGRADE", "").lower() == "websocket":
            if not _shakes_hands(environ):
                detail = "Send the headers of RFC 6455, section 4.1, or use transport=polling."
                return _problem(
                    environ, start_response, "400 Bad Request", "This is not the handshake of a WebSocket", detail
                )
            # An open WebSocket is not work in hand: it is counted apart and closed when the instance leaves.
            trail.begin(environ).lead("socketio")
            return self.app(environ, start_response)
        return self._handle(environ, start_response)

    def _handle(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        here, begun = trail.begin(environ), time.perf_counter()
        finished = partial(self._finished, environ, here, begun)
        self.instance.in_flight += 1

        def counted(status: str, headers: list[Header], *rest: Any) -> Any:
            self.instance.count(status)
            if here.user:
                headers = [*headers, (USER_HEADER, here.user)]
            return start_response(status, headers, *rest)

        try:
            return ClosingIterator(self.app(environ, counted), finished)
        except BaseException:
            finished()
            raise

    def _finished(self, environ: dict[str, Any], here: Trail, begun: float) -> None:
        self.instance.in_flight -= 1
        seconds = time.perf_counter() - begun
        # A client of long polling waits for what comes: that is not slow.
        if seconds >= self.instance.slow_seconds and not environ["PATH_INFO"].startswith("/socket.io/"):
            _log_slow(environ, here, seconds)

    def _from_the_host(self, environ: dict[str, Any]) -> bool:
        """Whether the request came by the control socket, whose directory is closed to nginx."""
        return local_socket(environ).startswith(self.instance.control_directory)

    def _refuse(self, environ: dict[str, Any], start_response: StartResponse) -> list[bytes]:
        """Answer what nginx takes to the next instance; only who comes past it reads this."""
        detail = f"{self.instance.name} is {self.instance.state}. Nothing was done. Send the request again in a second."
        return _problem(
            environ,
            start_response,
            "503 Service Unavailable",
            "This instance takes no requests at the moment",
            detail,
            [("Retry-After", "1")],
            state=self.instance.state,
        )

    def _ready(self, start_response: StartResponse) -> Iterable[bytes]:
        """Whether another instance would do better with a request than this one.

        Only of this process, never of PostgreSQL or Redis: without them no other one does better, and with all of
        them taken away nginx could say no more than that nobody answers. So they stay, and say what is the matter.
        """
        state = self.instance.state
        if state is State.READY and self.instance.deaf():
            state = State.DEAF
        status = "200 OK" if state is State.READY else "503 Service Unavailable"
        body = {"state": state, "instance": self.instance.name, "release": self.instance.release}
        return _answer(start_response, status, body)

    def _control(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        """Answer what the fleet tool asks."""
        if not self._from_the_host(environ):
            return _not_found(environ, start_response)
        match environ["REQUEST_METHOD"], environ["PATH_INFO"]:
            case "GET", "/control/status":
                pass
            case "GET", "/control/check":
                failed = self.instance.check()
                status = "500 Internal Server Error" if failed else "200 OK"
                return _answer(start_response, status, {"ok": not failed, "failed": failed})
            case "POST", "/control/drain":
                self.instance.drain()
            case "POST", "/control/resume":
                self.instance.resume()
            case _:
                return _not_found(environ, start_response)
        return _answer(start_response, "200 OK", self.instance.describe())


def _log_slow(environ: dict[str, Any], here: Trail, seconds: float) -> None:
    """Say what a slow request did; nginx's line of the same id says the rest."""
    took = logs.fields(
        method=environ["REQUEST_METHOD"],
        path=environ["PATH_INFO"],
        milliseconds=round(seconds * 1000),
        statements=here.statements,
        database_milliseconds=round(here.database_seconds * 1000),
    )
    log.warning("a request was slow", extra=took)


def local_socket(environ: dict[str, Any]) -> str:
    """The address this request came in by: the path of a unix socket, or ``host:port``; empty under a test client."""
    connection = environ.get("gunicorn.socket")
    if connection is None:
        return ""
    address = connection.getsockname()
    return address if isinstance(address, str) else f"{address[0]}:{address[1]}"


def _shakes_hands(environ: dict[str, Any]) -> bool:
    """Whether the headers are those of a WebSocket's handshake; the library would break off at others."""
    wishes = [wish.strip().lower() for wish in environ.get("HTTP_CONNECTION", "").split(",")]
    version = environ.get("HTTP_SEC_WEBSOCKET_VERSION")
    return "upgrade" in wishes and version == "13" and "HTTP_SEC_WEBSOCKET_KEY" in environ and "HTTP_HOST" in environ


def _not_found(environ: dict[str, Any], start_response: StartResponse) -> list[bytes]:
    detail = "There is nothing at this address for you. Look whether it is written as you meant it."
    return _problem(environ, start_response, "404 Not Found", "There is no such thing", detail)


def _problem(
    environ: dict[str, Any],
    start_response: StartResponse,
    status: str,
    title: str,
    detail: str,
    headers: Sequence[Header] = (),
    **extra: Any,
) -> list[bytes]:
    """Answer with a problem (RFC 9457), with the members that those of the app have, which is not asked here."""
    body = {"type": "about:blank", "title": title, "status": int(status[:3]), "detail": detail}
    body["request_id"] = environ.get("HTTP_X_REQUEST_ID", "")
    return _answer(start_response, status, {**body, **extra}, headers, "application/problem+json")


def _answer(
    start_response: StartResponse,
    status: str,
    body: dict[str, Any],
    headers: Sequence[Header] = (),
    content_type: str = "application/json",
) -> list[bytes]:
    content = orjson.dumps(body)
    fixed = [("Content-Type", content_type), ("Content-Length", str(len(content))), ("Cache-Control", "no-store")]
    start_response(status, [*fixed, *headers])
    return [content]
