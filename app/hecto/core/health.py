"""Health of this instance and of what it needs, in bounded time; metrics on the loopback only."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

import gevent
import redis
from flask import Blueprint, Response, abort, request
from pydantic import BaseModel
from sqlalchemy.exc import SQLAlchemyError

from hecto.core import clock
from hecto.core.instance import local_socket
from hecto.core.services import Services, services
from hecto.core.store import StoreUnavailable

# The longest that one probe may take; they run side by side, so it is the longest for all of them, too.
PROBE_SECONDS = 1.0
HEALTHY = "healthy"
UNHEALTHY = "unhealthy"
# Every connection of this instance is in use: that says that much is asked of the database, not that it is away.
BUSY = "busy"

blueprint = Blueprint("health", __name__)


class ServiceStates(BaseModel):
    database: str
    redis: str
    socketio: str


class Connections(BaseModel):
    websockets: int
    activeUsers: int


class Health(BaseModel):
    """The answer of /api/health."""

    status: str
    instance: str
    timestamp: datetime
    uptime: float
    services: ServiceStates
    connections: Connections
    release: str


@blueprint.get("/api/health")
def health() -> Response:
    """Tell how this instance and the services behind it are."""
    shared = services()
    states, active_users = probe(shared)
    status = "OK" if all(value == HEALTHY for value in states.values()) else "DEGRADED"
    answer = Health(
        status=status,
        instance=shared.instance.name,
        timestamp=clock.now(),
        uptime=shared.instance.uptime,
        services=ServiceStates(**states),
        connections=Connections(
            websockets=shared.instance.count_websockets(),
            activeUsers=active_users,
        ),
        release=shared.instance.release,
    )
    # 200 also when degraded: the instance itself answers, and no other one would fare better.
    return Response(answer.model_dump_json(), content_type="application/json")


def probe(shared: Services) -> tuple[dict[str, str], int]:
    """The state of each service and the number of active users, asked side by side, at most PROBE_SECONDS in all."""
    checks: dict[str, Callable[[], bool]] = {
        "database": lambda: _answers(shared.database.probe, SQLAlchemyError),
        "redis": lambda: _answers(shared.store.probe, redis.RedisError),
        "socketio": shared.socketio_healthy,
    }
    running = {name: gevent.spawn(check) for name, check in checks.items()}
    active_users = gevent.spawn(_active_users, shared)
    everything = [*running.values(), active_users]
    gevent.joinall(everything, timeout=PROBE_SECONDS)
    states = {name: HEALTHY if greenlet.value else UNHEALTHY for name, greenlet in running.items()}
    if not running["database"].ready() and shared.database.is_full():
        states["database"] = BUSY
    gevent.killall(everything, block=False)
    return states, active_users.value or 0


def _answers(ask: Callable[[], None], trouble: type[Exception]) -> bool:
    try:
        ask()
    except trouble:
        return False
    return True


def _active_users(shared: Services) -> int:
    try:
        return shared.gate.active_users()
    except StoreUnavailable:
        return 0


@blueprint.get("/metrics")
def metrics() -> Response:
    """Metrics for Prometheus, on the loopback socket of the instance; nginx comes by the unix socket and gets 404."""
    if local_socket(request.environ).startswith("/"):
        abort(404)
    shared = services()
    content = shared.metrics.render(listening=shared.socketio_healthy())
    return Response(content, content_type="text/plain; version=0.0.4; charset=utf-8")
