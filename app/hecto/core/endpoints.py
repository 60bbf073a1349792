"""Routes: each declares what it needs, and one pipeline does the same for all of them in the same order.

Credentials, rate, permission, CSRF, input, one unit of work, answer. A view only says what to do with the parsed input.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import gevent
import orjson
from flask import Blueprint, Flask, Response, current_app, g, make_response, render_template, request
from pydantic import BaseModel
from sqlalchemy.orm import Session

from hecto.core import idempotency, origin, trail, unit_of_work
from hecto.core.errors import Forbidden, Invalid, SessionEnded, Unauthenticated
from hecto.core.gate import Allowance
from hecto.core.input import Input, read_form, read_json, read_query
from hecto.core.permissions import MARKERS, PUBLIC, SIGNING_OUT, SIGNING_OUT_EVERYWHERE, Actor
from hecto.core.services import Services, services

T = TypeVar("T")
JSON_TYPE = "application/json"
HTML_TYPE = "text/html; charset=utf-8"
READS = ("GET", "HEAD")
COOKIE = "__Host-hecto"
ENDPOINTS = "hecto.endpoints"
# Set in `g` by the process itself, for requests that it makes to itself: who makes them, and the services they use.
VISITOR, VISITED = "visitor", "visited"


@dataclass(slots=True)
class Context:
    """What a view gets: who asks, for what, and the session of its unit of work."""

    services: Services
    actor: Actor | None
    allowance: Allowance | None = None
    _session: Session | None = None
    query: Any = None
    body: Any = None
    # Only for views that show a form again: what was typed and what is wrong with it.
    errors: Invalid | None = None

    @property
    def session(self) -> Session:
        """The database session: of one transaction for writes, of single statements for reads."""
        assert self._session is not None, "this view runs without a unit of work: use read() or write()"
        return self._session

    @property
    def user(self) -> Actor:
        """The signed-in user; only for routes that are not public."""
        assert self.actor is not None, "a public route has no user"
        return self.actor

    def read(self, work: Callable[[Session], T]) -> T:
        """Read in a view that declared ``transaction=False``."""
        return unit_of_work.read(self.services.database, work)

    def write(self, work: Callable[[Session], T]) -> T:
        """Write as one unit of work in a view that declared ``transaction=False``."""
        return unit_of_work.run(self.services.database, work)

    def csrf_token(self) -> str:
        """The token that a form of this browser session must carry; empty without a session."""
        return self.services.tokens.csrf(self.actor.session_id) if self.actor else ""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """The declaration of one route; the OpenAPI document is made from these."""

    method: str
    path: str
    permission: str
    view: Callable[..., Any]
    query: type[Input] | None
    body: type[Input] | None
    answers: type[BaseModel] | None
    status: int
    transaction: bool
    show_errors: bool
    # What metrics and the journal call it: module.view.
    name: str


class Router:
    """The routes of one part of a module: its ``api`` or its ``pages``."""

    def __init__(self, module: str, part: str) -> None:
        self.module = module
        self.blueprint = Blueprint(f"{module}_{part}", f"hecto.modules.{module}", template_folder="templates")
        self.endpoints: list[Endpoint] = []

    def route(
        self,
        method: str,
        path: str,
        *,
        permission: str,
        query: type[Input] | None = None,
        body: type[Input] | None = None,
        answers: type[BaseModel] | None = None,
        status: int = 200,
        transaction: bool = True,
        show_errors: bool = False,
    ) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        """Declare a view. It gets a Context and the variables of the path.

        ``answers`` and ``status`` describe the answer. ``transaction=False`` leaves units of work to the view.
        ``show_errors=True`` calls the view with ``context.errors`` instead of answering a problem, for a form to show.
        A view may run more than once (see unit_of_work.run), so it keeps effects outside of the database for after
        the commit.
        """

        def register(view: Callable[..., Any]) -> Callable[..., Any]:
            endpoint = Endpoint(
                method,
                path,
                permission,
                view,
                query,
                body,
                answers,
                status,
                transaction,
                show_errors,
                f"{self.module}.{view.__name__}",
            )
            self.endpoints.append(endpoint)
            self.blueprint.add_url_rule(path, view.__name__, _pipeline(endpoint), methods=[method])
            return view

        return register


def install(app: Flask, routers: Sequence[Router], found: Services) -> None:
    """Add the routes to the app; raises LookupError for a permission that no module declares."""
    by_name = app.extensions[ENDPOINTS] = {}
    for router in routers:
        for endpoint in router.endpoints:
            found.registry.check(endpoint.permission, f"{endpoint.method} {endpoint.path}")
            by_name[f"{router.blueprint.name}.{endpoint.view.__name__}"] = endpoint
        app.register_blueprint(router.blueprint)


def check_declared(app: Flask, undeclared: Collection[str]) -> None:
    """Raise LookupError for a route that came about beside Router.route, so that nobody has said who may use it."""
    for rule in app.url_map.iter_rules():
        if rule.endpoint not in app.extensions[ENDPOINTS] and rule.endpoint not in undeclared:
            raise LookupError(
                f"{rule.rule} ({rule.endpoint}) declares no permission, so anybody could use it without signing in. "
                "Declare it with Router.route, or, if it tells nothing of anybody's data, add it to UNDECLARED."
            )


def _pipeline(endpoint: Endpoint) -> Callable[..., Response]:
    """The function that Flask calls for this endpoint."""

    def handle(**path: Any) -> Response:
        begun = time.perf_counter()
        shared: Services = g.get(VISITED) or services()
        g.endpoint = endpoint.name
        g.begun = begun
        if here := trail.current.get():
            here.lead(endpoint.name)
        if request.method not in READS:
            # Kept before anything parses it as a form: its digest belongs to the key of the write.
            request.get_data(cache=True)
        try:
            context = _admit(shared, endpoint)
        except SessionEnded:
            if (response := _answered(shared, endpoint)) is None:
                raise
            return response
        _read_input(context, endpoint)
        return _run(context, endpoint, path)

    return handle


def _admit(shared: Services, endpoint: Endpoint) -> Context:
    """Find out who asks and whether they may; raises Unauthenticated, TooManyRequests or Forbidden."""
    context = Context(shared, g.get(VISITOR))
    g.context = context
    if context.actor is not None:
        return context
    public, ended = endpoint.permission == PUBLIC, False
    bearer = _bearer()
    try:
        credentials = shared.gate.credentials(bearer, request.cookies.get(cookie_name(shared)))
        if credentials is not None:
            context.actor, context.allowance = shared.gate.admit(credentials)
            trail.identify(context.actor.id)
    except Unauthenticated as error:
        ended = endpoint.permission == SIGNING_OUT and isinstance(error, SessionEnded)
        # A public page must open with an old cookie, too: it is how one signs in again.
        if not public and not ended:
            raise
    if request.method not in READS and bearer is None:
        origin.check(shared, context.actor)
    if public or ended:
        return context
    if context.actor is None:
        raise Unauthenticated("Sign in first.")
    _require(context, endpoint)
    return context


def _answered(shared: Services, endpoint: Endpoint) -> Response | None:
    """The answer to the very request that ended the sign-in it comes by, for a client that did not get it.

    Such a repeat shows the same signed token and the same key. It gets what is stored, and nothing is done.
    """
    bearer = _bearer()
    if endpoint.permission != SIGNING_OUT_EVERYWHERE or bearer is None:
        return None
    key = idempotency.read(request, shared.tokens.check(bearer).user_id, shared.tokens)
    if key is None:
        return None
    response = unit_of_work.read(shared.database, lambda session: idempotency.find(session, key))
    if response is not None:
        unit_of_work.settle(shared.database)
        # As for every repeat: whoever ended the sign-ins may have died before it told anybody.
        shared.teller.catch_up()
    return response


def _require(context: Context, endpoint: Endpoint) -> None:
    """Raise Forbidden where the user may not use the endpoint."""
    if endpoint.permission not in MARKERS and not context.user.may(endpoint.permission):
        label = context.services.registry.labels[endpoint.permission]
        raise Forbidden(f"This needs the permission “{label}”. Ask an administrator for a role that has it.")


def _bearer() -> str | None:
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None


def cookie_name(shared: Services) -> str:
    """The name of the session cookie; browsers take the __Host- prefix by https only."""
    return COOKIE if shared.settings.secure else COOKIE.removeprefix("__Host-")


def _read_input(context: Context, endpoint: Endpoint) -> None:
    try:
        if endpoint.query is not None:
            context.query = read_query(request, endpoint.query)
        if endpoint.body is not None:
            as_form = not endpoint.path.startswith("/api/") and request.mimetype != JSON_TYPE
            context.body = (read_form if as_form else read_json)(request, endpoint.body)
    except Invalid as error:
        if not endpoint.show_errors:
            raise
        context.errors = error


def _run(context: Context, endpoint: Endpoint, path: dict[str, Any]) -> Response:
    def work(session: Session) -> Response:
        context._session = session
        return _respond(endpoint.view(context, **path), endpoint.status)

    if not endpoint.transaction:
        return _respond(endpoint.view(context, **path), endpoint.status)
    if request.method in READS:
        return context.read(work)
    key = idempotency.read(request, context.actor.id if context.actor else None, context.services.tokens)
    if key is None:
        return context.write(work)
    return _run_once(context, work, key)


def _run_once(context: Context, work: Callable[[Session], Response], key: idempotency.Key) -> Response:
    """Run a write that has a key: what was done under it before is answered, not done again."""

    def keyed(session: Session) -> Response:
        response = work(session)
        # An answer that refuses changed nothing worth keeping; a repeat may fare better. Unless this is the repeat, and
        # is refused for what came after the first.
        if response.status_code >= 400:
            return stored(session) or response
        idempotency.keep(session, key, response)
        return response

    def stored(session: Session) -> Response | None:
        return idempotency.find(session, key, lambda path: _represent(context, session, path))

    response = idempotency.once(key, lambda: context.write(keyed), lambda: context.read(stored))
    if "Idempotency-Replayed" in response.headers:
        # It was found, not done here: the wait of whoever did it may have been cut short.
        unit_of_work.settle(context.services.database)
        # Whoever did the work may have died before it told anybody.
        context.services.teller.catch_up()
    if idempotency.is_time_to_sweep():
        gevent.spawn(idempotency.sweep, context.services.database)
    return response


def _represent(context: Context, session: Session, path: str) -> bytes:
    """What GET gives this user at a path of ours; raises Forbidden or NotFound."""
    name, values = current_app.url_map.bind("").match(path, method="GET")
    endpoint = current_app.extensions[ENDPOINTS][name]
    _require(context, endpoint)
    reading = replace(context, _session=session, query=None, body=None, errors=None)
    return _respond(endpoint.view(reading, **values), endpoint.status).get_data()


def _respond(result: Any, status: int) -> Response:
    """Bytes are finished JSON, text is a page, anything else becomes JSON."""
    if isinstance(result, Response):
        return result
    if isinstance(result, tuple):
        result, status = result
    if isinstance(result, str):
        return Response(result, status, content_type=HTML_TYPE)
    content = result if isinstance(result, bytes) else orjson.dumps(result)
    return Response(content, status, content_type=JSON_TYPE)


def page(template: str, **values: Any) -> str:
    """Render a template of a module."""
    return render_template(template, **values)


def see_other(where: str) -> Response:
    """Send a browser on to another page after a form, so that reloading does not repeat it."""
    response = make_response("", 303)
    response.headers["Location"] = where
    return response
