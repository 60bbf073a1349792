"""What one process shares among its requests, found at ``services()`` inside of a request."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from flask import current_app

from hecto.core.cache import Caching
from hecto.core.db import Database
from hecto.core.gate import Gate
from hecto.core.heartbeat import Heartbeat
from hecto.core.instance import Instance
from hecto.core.permissions import Registry
from hecto.core.security import Tokens
from hecto.core.store import Store
from hecto.core.throttle import Throttle
from hecto.settings import Settings

if TYPE_CHECKING:
    from hecto.core.metrics import Metrics
    from hecto.core.outbox import Teller


@dataclass(slots=True)
class Services:
    """The parts that requests use. One of each a process, made by create_app."""

    settings: Settings
    database: Database
    store: Store
    tokens: Tokens
    gate: Gate
    cache: Caching
    teller: Teller
    instance: Instance
    registry: Registry
    metrics: Metrics
    heartbeat: Heartbeat
    sign_in_throttle: Throttle
    # Asked by /api/health whether the Socket.IO server hears the other instances.
    socketio_healthy: Callable[[], bool] = lambda: False
    # Who has a page open, as {"id", "name"}; raises StoreUnavailable. The real-time server puts it in.
    present: Callable[[], list[dict[str, Any]]] = list


def services() -> Services:
    """The services of the app that handles the current request."""
    found: Services = current_app.extensions["hecto"]
    return found
