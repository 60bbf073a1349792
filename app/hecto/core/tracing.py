"""Traces for OpenTelemetry: a span for each request, statement and command to Redis; imported only where wanted.

Exported as OTLP over HTTP, in batches, by a thread of the worker, which under gevent is a greenlet.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, ClassVar
from urllib.parse import urlsplit

from flask import Flask
from opentelemetry import context, trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.trace import SpanKind, Status, StatusCode, Tracer
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from werkzeug.wsgi import ClosingIterator

from hecto.core import trail
from hecto.core.db import TrailCursor
from hecto.core.instance import StartResponse, WsgiApp
from hecto.core.services import Services
from hecto.settings import Settings

PATH = "/v1/traces"
# How long the end of a process waits for its last spans to be taken.
FLUSH_MILLISECONDS = 2_000


class Tracing:
    """The traces of one process."""

    def __init__(self, app: Flask, services: Services) -> None:
        self._settings = services.settings
        self._provider = _provider(services.settings)
        tracer = self._provider.get_tracer("hecto")
        app.wsgi_app = _Requests(app.wsgi_app, tracer)  # type: ignore[method-assign]
        services.database.cursor_factory = type("TracedCursor", (_TracedCursor,), {"tracer": tracer})
        _trace_redis(services.store.client, tracer)

    def start(self) -> None:
        """Begin to send, in the process that serves."""
        endpoint = self._settings.otlp_endpoint
        if not urlsplit(endpoint).path:
            endpoint += PATH
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint)))

    def close(self) -> None:
        """Send what is left."""
        self._provider.force_flush(FLUSH_MILLISECONDS)


def _provider(settings: Settings) -> TracerProvider:
    resource = Resource.create(
        {
            "service.name": "hecto",
            "service.version": settings.release,
            "service.instance.id": settings.instance_name,
        }
    )
    # By the id of the trace, whatever a client says of it: nobody outside may make this site trace every request.
    ratio = TraceIdRatioBased(settings.trace_ratio)
    return TracerProvider(ParentBased(ratio, remote_parent_sampled=ratio, remote_parent_not_sampled=ratio), resource)


class _Requests:
    """WSGI middleware, inside of the gatekeeper, that makes the span of a request."""

    def __init__(self, app: WsgiApp, tracer: Tracer) -> None:
        self._app = app
        self._tracer = tracer
        self._propagator = TraceContextTextMapPropagator()

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        here = trail.current.get()
        # What is open for hours, or waits for news, is not a request that takes long.
        if here is None or environ["PATH_INFO"].startswith("/socket.io/"):
            return self._app(environ, start_response)
        return self._trace(environ, start_response, here)

    def _trace(self, environ: dict[str, Any], start_response: StartResponse, here: trail.Trail) -> Iterable[bytes]:
        carrier = {name: environ.get(f"HTTP_{name.upper()}", "") for name in ("traceparent", "tracestate")}
        method = environ["REQUEST_METHOD"]
        span = self._tracer.start_span(
            method,
            self._propagator.extract(carrier),
            SpanKind.SERVER,
            {"http.request.method": method, "url.path": environ["PATH_INFO"], "hecto.request_id": here.request_id},
        )
        inside = trace.set_span_in_context(span)
        self._propagator.inject(carrier, inside)
        here.traceparent = carrier["traceparent"]
        token = context.attach(inside)

        def noted(status: str, *rest: Any) -> Any:
            span.set_attribute("http.response.status_code", int(status[:3]))
            if status.startswith("5"):
                span.set_status(Status(StatusCode.ERROR))
            return start_response(status, *rest)

        def finished() -> None:
            span.update_name(f"{method} {here.route}".strip())
            span.set_attributes({"http.route": here.route, "user.id": here.user})
            span.end()
            context.detach(token)

        try:
            return ClosingIterator(self._app(environ, noted), finished)
        except BaseException:
            finished()
            raise


class _TracedCursor(TrailCursor):
    """Makes the span of a statement, which holds its text and never the values that go into it."""

    tracer: ClassVar[Tracer]

    def execute(self, query: Any, vars: Any = None) -> None:
        """Execute a statement."""
        if not trace.get_current_span().is_recording() or not isinstance(query, str):
            super().execute(query, vars)
            return
        words = query.split(None, 1)
        attributes = {"db.system.name": "postgresql", "db.query.text": query}
        with self.tracer.start_as_current_span(words[0].upper() if words else "", None, SpanKind.CLIENT, attributes):
            super().execute(query, vars)


def _trace_redis(client: Any, tracer: Tracer) -> None:
    """Make the spans of commands: of single ones, which scripts are as well, and of pipelines."""
    make_pipeline = client.pipeline
    client.execute_command = _traced(tracer, client.execute_command)

    def pipeline(*arguments: Any, **options: Any) -> Any:
        made = make_pipeline(*arguments, **options)
        made.execute = _traced(tracer, made.execute, "PIPELINE")
        return made

    client.pipeline = pipeline


def _traced(tracer: Tracer, call: Callable[..., Any], name: str = "") -> Callable[..., Any]:
    def traced(*arguments: Any, **options: Any) -> Any:
        if not trace.get_current_span().is_recording():
            return call(*arguments, **options)
        # Neither keys nor values: a session is found by its key.
        command = name or str(arguments[0])
        with tracer.start_as_current_span(command, None, SpanKind.CLIENT, {"db.system.name": "redis"}):
            return call(*arguments, **options)

    return traced
