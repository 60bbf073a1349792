"""Whether this release works here: each page and list runs once, inside of the process, before users depend on it.

A roll asks for it while the instance takes no traffic yet. A release that starts and then answers everything with an
error, or that needs a schema which the database does not have, is found out without a single failed request.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace

import gevent
from flask import Flask, g
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from hecto.core import endpoints, health
from hecto.core.cache import Uncached
from hecto.core.endpoints import READS, Endpoint, Router
from hecto.core.errors import Unavailable
from hecto.core.input import LARGEST_ID
from hecto.core.permissions import system
from hecto.core.services import Services
from hecto.core.unit_of_work import read
from hecto.migrations import revisions

# How long services may take to be reached after a start, in seconds.
PATIENCE = 5.0
# May see everything, and is nobody who has tasks or can be written to.
NOBODY = replace(system(), id=LARGEST_ID)


def failures(app: Flask, routers: Sequence[Router], services: Services) -> list[str]:
    """What does not work, one line each; empty when everything does. Takes as long as one look at every page."""
    found = _services(services)
    # Without the database every page would fail for the same reason.
    return found or [*_schema(services), *_pages(app, routers, services)]


def _services(services: Services) -> list[str]:
    """What this release needs and does not reach. Of an instance that just started, connections are on their way."""
    deadline = time.monotonic() + PATIENCE
    while True:
        states, _ = health.probe(services)
        found = [f"{name}: {state}" for name, state in states.items() if state != health.HEALTHY]
        if not found or time.monotonic() > deadline:
            return found
        gevent.sleep(0.05)


def _schema(services: Services) -> Iterator[str]:
    """A schema that is newer than this release is fine: migrations only add to what a running release knows."""
    statement = text("SELECT version_num FROM alembic_version")
    try:
        current = str(read(services.database, lambda session: session.scalar(statement)))
    except (SQLAlchemyError, Unavailable) as error:
        yield f"schema: {error}"
        return
    if missing := [revision for revision in revisions.known() if revision > current]:
        yield f"schema: the database lacks {', '.join(missing)}"


def _pages(app: Flask, routers: Sequence[Router], services: Services) -> Iterator[str]:
    # A cached list would hide that its query fails.
    uncached = replace(services, cache=Uncached())
    for endpoint in _without_variables(routers):
        with app.test_request_context(endpoint.path, base_url=services.settings.public_url):
            setattr(g, endpoints.VISITOR, NOBODY)
            setattr(g, endpoints.VISITED, uncached)
            # With all that runs before and after a view; what it raises is answered, and logged with its traceback.
            answer = app.full_dispatch_request()
        if answer.status_code >= 400:
            yield f"GET {endpoint.path}: {answer.status}"


def _without_variables(routers: Sequence[Router]) -> Iterator[Endpoint]:
    for router in routers:
        yield from (one for one in router.endpoints if one.method in READS and "<" not in one.path)
