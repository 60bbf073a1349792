"""Errors as people and programs get them: RFC 9457 problem+json for the API, a page for the browser."""

from __future__ import annotations

import logging
from typing import Any
from urllib.parse import quote

import orjson
from flask import Flask, Request, Response, g, render_template, request
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm.exc import StaleDataError
from werkzeug.exceptions import HTTPException

from hecto.core.errors import Conflict, DomainError, Unauthenticated
from hecto.core.unit_of_work import may_retry, unavailable

log = logging.getLogger(__name__)

# 503 belongs to draining (see Unavailable); whatever else asks for it is told with the next best.
NOT_A_DRAIN = {503: 504}


def install(app: Flask) -> None:
    """Have every error of the app answered as a problem."""
    app.register_error_handler(DomainError, _domain_error)
    app.register_error_handler(HTTPException, _http_error)
    app.register_error_handler(StaleDataError, _stale)
    app.register_error_handler(DBAPIError, _database_error)
    app.register_error_handler(Exception, _unexpected)


def describe(status: int, title: str, detail: str, **extra: Any) -> dict[str, Any]:
    """The body of a problem. ``request_id`` finds the request in the journal."""
    body = {"type": "about:blank", "title": title, "status": status, "detail": detail}
    return {**body, "request_id": request.headers.get("X-Request-ID", ""), **extra}


def answer(problem: dict[str, Any], headers: dict[str, str] | None = None) -> Response:
    """The problem as this client wants it."""
    if wants_page(request):
        response = Response(render_template("problem.html", problem=problem), problem["status"])
    else:
        response = Response(orjson.dumps(problem), problem["status"], content_type="application/problem+json")
    response.headers.update(headers or {})
    return response


def wants_page(current: Request) -> bool:
    """Whether a person reads the answer in a browser."""
    return not current.path.startswith(("/api/", "/socket.io/"))


def _domain_error(error: DomainError) -> Response:
    # The script decides by itself: leaving the page would throw away what was typed on it.
    if isinstance(error, Unauthenticated) and wants_page(request) and "HX-Request" not in request.headers:
        return _to_sign_in()
    return answer(describe(error.status, error.title, error.detail, **error.extra), dict(error.headers))


def _to_sign_in() -> Response:
    """Send a browser to the sign-in page, from where it comes back to the page it wanted."""
    where = "/sign-in"
    if request.method == "GET" and request.path != "/":
        where += "?next=" + quote(request.full_path.rstrip("?"), safe="/")
    return Response(status=303, headers={"Location": where})


def _http_error(error: HTTPException) -> Response:
    status = NOT_A_DRAIN.get(error.code or 500, error.code or 500)
    headers = {name: value for name, value in error.get_headers() if name in ("Allow", "Retry-After", "Location")}
    if status < 400:
        return Response(status=status, headers=headers)
    return answer(describe(status, error.name, error.description or error.name), headers)


def _stale(error: StaleDataError) -> Response:
    return _domain_error(Conflict("Load it again, look at what changed, and repeat your change."))


def _database_error(error: DBAPIError) -> Response:
    if may_retry(error):
        return _domain_error(unavailable())
    return _unexpected(error)


def _unexpected(error: Exception) -> Response:
    log.exception("request %s %s failed unexpectedly", request.method, request.path, exc_info=error)
    g.pop("context", None)
    detail = "The error has been logged with the request id below. Nothing was changed. Tell the administrator."
    return answer(describe(500, "Something went wrong", detail))
