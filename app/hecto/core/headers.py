"""Headers of every answer: security, CORS for the API, the user's rate, and the counting of requests."""

from __future__ import annotations

import time

from flask import Flask, Response, g, request

from hecto.core.services import Services

# What another site's page may use once its origin is on the list: the API with a bearer token, never with a cookie.
CORS_METHODS = "GET, POST, PATCH, PUT, DELETE"
CORS_HEADERS = "Authorization, Content-Type, Idempotency-Key"
CORS_EXPOSED = "RateLimit, RateLimit-Policy, Retry-After, X-Request-ID"
# How long a browser may remember the answer to a preflight, in seconds; Chromium takes no more than two hours.
CORS_AGE = "7200"


def install(app: Flask, shared: Services) -> None:
    """Have the headers set on every answer of the app."""
    fixed = _fixed(shared)

    def before() -> Response | None:
        if request.method == "OPTIONS" and "Access-Control-Request-Method" in request.headers:
            return Response(status=204)
        return None

    def after(response: Response) -> Response:
        for name, value in fixed:
            response.headers.setdefault(name, value)
        _rate(response)
        if request.path.startswith("/api/"):
            _cors(response, shared)
        _count(response, shared)
        return response

    app.before_request(before)
    app.after_request(after)


def _fixed(shared: Services) -> list[tuple[str, str]]:
    """The same for every answer. Strict-Transport-Security is left to nginx, which knows the certificate."""
    sockets = shared.settings.public_url.replace("http", "ws", 1)
    policy = {
        "default-src": "'none'",
        "script-src": "'self'",
        "style-src": "'self'",
        "img-src": "'self' data:",
        "font-src": "'self'",
        "connect-src": f"'self' {sockets}",
        "manifest-src": "'self'",
        "form-action": "'self'",
        "base-uri": "'none'",
        "frame-ancestors": "'none'",
    }
    headers = [
        ("Content-Security-Policy", "; ".join(f"{name} {value}" for name, value in policy.items())),
        ("X-Content-Type-Options", "nosniff"),
        ("X-Frame-Options", "DENY"),
        ("Referrer-Policy", "same-origin"),
        ("Cross-Origin-Opener-Policy", "same-origin"),
        ("Cross-Origin-Resource-Policy", "same-origin"),
        ("Permissions-Policy", "camera=(), geolocation=(), microphone=(), payment=(), usb=()"),
        ("Cache-Control", "no-store"),
        ("X-Instance", shared.instance.name),
    ]
    return headers


def _rate(response: Response) -> None:
    context = g.get("context")
    if context is not None and context.allowance is not None:
        for name, value in context.allowance.headers():
            response.headers[name] = value


def _cors(response: Response, shared: Services) -> None:
    if not shared.settings.cors_origins:
        return
    response.headers.add("Vary", "Origin")
    sender = request.headers.get("Origin", "")
    if sender not in shared.settings.cors_origins:
        return
    response.headers["Access-Control-Allow-Origin"] = sender
    response.headers["Access-Control-Expose-Headers"] = CORS_EXPOSED
    response.headers["Cross-Origin-Resource-Policy"] = "cross-origin"
    if request.method == "OPTIONS":
        response.headers["Access-Control-Allow-Methods"] = CORS_METHODS
        response.headers["Access-Control-Allow-Headers"] = CORS_HEADERS
        response.headers["Access-Control-Max-Age"] = CORS_AGE


def _count(response: Response, shared: Services) -> None:
    endpoint = g.get("endpoint", "other")
    shared.metrics.requests.labels(endpoint, str(response.status_code)).inc()
    if "begun" in g:
        shared.metrics.seconds.labels(endpoint).observe(time.perf_counter() - g.begun)
