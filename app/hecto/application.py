"""The application: its parts put together, nothing else."""

from __future__ import annotations

from typing import Any

from flask import Flask
from werkzeug.routing import IntegerConverter

from hecto import selfcheck
from hecto.core import endpoints, headers, health, logs, openapi, pages, problems, unit_of_work
from hecto.core.cache import Cache
from hecto.core.db import Database
from hecto.core.endpoints import Router
from hecto.core.gate import Gate
from hecto.core.heartbeat import Heartbeat
from hecto.core.input import LARGEST_ID
from hecto.core.instance import Gatekeeper, Instance
from hecto.core.metrics import Metrics
from hecto.core.outbox import Teller
from hecto.core.permissions import Registry
from hecto.core.security import Tokens
from hecto.core.services import Services
from hecto.core.store import Store
from hecto.core.templates import install as install_templates
from hecto.core.throttle import Throttle
from hecto.modules import dashboard, messages, system, tasks, users
from hecto.modules.dashboard import routes as dashboard_routes
from hecto.modules.messages import api as messages_api
from hecto.modules.messages import queries as messages_queries
from hecto.modules.messages import routes as messages_routes
from hecto.modules.system import api as system_api
from hecto.modules.system import routes as system_routes
from hecto.modules.tasks import api as tasks_api
from hecto.modules.tasks import queries as tasks_queries
from hecto.modules.tasks import routes as tasks_routes
from hecto.modules.users import api as users_api
from hecto.modules.users import queries as users_queries
from hecto.modules.users import routes as users_routes
from hecto.modules.users.sign_in import THROTTLE_WINDOW
from hecto.realtime.server import Realtime
from hecto.settings import Settings

# The largest request: texts, no files yet.
LARGEST_BODY = 1_000_000

MODULES = (dashboard, messages, system, tasks, users)
ROUTERS: tuple[Router, ...] = (
    dashboard_routes.router,
    messages_api.router,
    messages_routes.router,
    system_api.router,
    system_routes.router,
    tasks_api.router,
    tasks_routes.router,
    users_api.router,
    users_routes.router,
)
# Of which records clients may hear by name, and who may see them.
KINDS = {"task": tasks_queries.visible, "channel": messages_queries.visible}
# What is there without a declaration, and so without a sign-in: nothing here may tell of anybody's data.
UNDECLARED = {"static", "openapi", "health.health", "health.metrics"}


class Identifier(IntegerConverter):
    """The id of a record in a path: ``<id:task_id>``. What bigint cannot hold is simply not found."""

    def __init__(self, map: Any) -> None:
        super().__init__(map, min=1, max=LARGEST_ID)


def create_app(settings: Settings) -> Flask:
    """The WSGI application, its services at ``app.extensions["hecto"]``. It opens no connection until it is used."""
    app = Flask("hecto", static_folder=None, template_folder="templates")
    app.config["MAX_CONTENT_LENGTH"] = LARGEST_BODY
    app.url_map.converters["id"] = Identifier
    services = _services(settings)
    app.extensions["hecto"] = services
    problems.install(app)
    headers.install(app, services)
    install_templates(app)
    pages.install(app)
    endpoints.install(app, ROUTERS, services)
    app.register_blueprint(health.blueprint)
    openapi.install(app, ROUTERS)
    endpoints.check_declared(app, UNDECLARED)
    realtime = app.extensions["realtime"] = Realtime(app, services, KINDS)
    services.present = realtime.presence.everybody
    services.instance.check = lambda: selfcheck.failures(app, ROUTERS, services)
    if settings.otlp_endpoint:
        from hecto.core.tracing import Tracing

        app.extensions["tracing"] = Tracing(app, services)
    if settings.sentry_dsn:
        from hecto.core.reports import Reports

        app.extensions["reports"] = Reports(settings)
    # Outermost, in front of Socket.IO as well: a draining instance refuses everything.
    app.wsgi_app = Gatekeeper(app.wsgi_app, services.instance)  # type: ignore[method-assign]
    return app


def registry() -> Registry:
    """Every permission of every module."""
    found = Registry()
    for module in MODULES:
        found.declare(module.PERMISSIONS)
    return found


def _services(settings: Settings) -> Services:
    logs.install(settings.instance_name, settings.release)
    database = Database(settings)
    store = Store(settings)
    tokens = Tokens(settings.secret_key)
    instance = Instance(settings)
    gate = Gate(
        store,
        tokens,
        lambda session_id: unit_of_work.read(database, lambda session: users_queries.load_session(session, session_id)),
        settings.requests_per_minute,
    )
    cache = Cache(store, instance.release)

    def drop(name: str) -> None:
        kind, _, what = name.partition(":")
        if kind == "cache":
            cache.invalidate(what)
        else:
            gate.forget(what, revoked=kind == "revoked")

    # The real-time server puts in how messages are sent.
    teller = Teller(database, drop)
    database.committed = teller.committed
    return Services(
        settings=settings,
        database=database,
        store=store,
        tokens=tokens,
        gate=gate,
        cache=cache,
        teller=teller,
        instance=instance,
        registry=registry(),
        metrics=Metrics(instance, database),
        heartbeat=Heartbeat(store, instance, database, settings),
        sign_in_throttle=Throttle(store, THROTTLE_WINDOW),
    )


def serve(app: Flask) -> None:
    """Begin to serve, in the process that will: connect the real-time server and take traffic."""
    services: Services = app.extensions["hecto"]
    for sender in _senders(app):
        sender.start()
    app.extensions["realtime"].start()
    services.teller.start()
    services.instance.begin()
    services.heartbeat.start()


def leave(app: Flask) -> None:
    """Stop taking requests and send the open sockets elsewhere."""
    services: Services = app.extensions["hecto"]
    services.instance.drain()


def close(app: Flask) -> None:
    """Tell what is left to tell, and give the connections back, or PostgreSQL learns of the end by a broken pipe."""
    services: Services = app.extensions["hecto"]
    services.teller.stop()
    services.heartbeat.stop()
    services.database.dispose()
    services.store.client.close()
    for sender in _senders(app):
        sender.close()


def _senders(app: Flask) -> list[Any]:
    """What sends to somebody else, where a site asks for it. Each has a thread, which does not survive a fork."""
    return [app.extensions[name] for name in ("tracing", "reports") if name in app.extensions]
