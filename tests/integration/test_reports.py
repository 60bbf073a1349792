"""Traces and errors reach those who take them, whole and without what people wrote; both are off by default."""

from __future__ import annotations

import json
import subprocess
import sys
import uuid

import pytest
import requests
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.integration.receivers import receiver
from tests.integration.test_logs import BREAKING
from tests.servers import ADMIN_EMAIL, ADMIN_PASSWORD, AppInstance, Site

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


@pytest.fixture(scope="module")
def told(site: Site):
    """What two receivers got from an instance that signed somebody in, answered a request and broke down in another."""
    with receiver() as traces, receiver() as errors:
        instance = AppInstance(
            site,
            HECTO_OTLP_ENDPOINT=f"http://{traces.address}",
            HECTO_TRACE_RATIO="1",
            HECTO_SENTRY_DSN=f"http://public@{errors.address}/7",
            **BREAKING,
        )
        body = {"email": ADMIN_EMAIL, "password": ADMIN_PASSWORD}
        token = requests.post(f"{instance.url}/api/auth/login", json=body, timeout=30).json()["access_token"]
        request_id = uuid.uuid4().hex
        headers = {
            "Authorization": f"Bearer {token}",
            "X-Request-ID": request_id,
            "traceparent": f"00-{TRACE}-{PARENT}-00",
        }
        assert requests.get(f"{instance.url}/api/tasks?q=privately", headers=headers, timeout=30).status_code == 200
        assert requests.post(f"{instance.url}/api/break", headers=headers, timeout=30).status_code == 500
        instance.stop()
        yield request_id, traces.got, errors.got


def attributes(span) -> dict[str, object]:
    return {item.key: item.value.string_value or item.value.int_value for item in span.attributes}


def test_a_request_is_a_trace_with_its_statements_and_commands(told):
    request_id, got, _ = told
    assert {path for path, _ in got} == {"/v1/traces"}
    exported = [ExportTraceServiceRequest.FromString(body) for _, body in got]
    spans = [
        span
        for request in exported
        for resource in request.resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
        if span.trace_id.hex() == TRACE
    ]
    request = next(span for span in spans if span.name == "GET tasks.list_tasks")
    assert request.parent_span_id.hex() == PARENT
    said = attributes(request)
    assert said["http.response.status_code"] == 200
    assert (said["http.route"], said["hecto.request_id"]) == ("tasks.list_tasks", request_id)
    assert said["user.id"].isdecimal()
    inside = [span for span in spans if span.parent_span_id == request.span_id]
    assert {attributes(span)["db.system.name"] for span in inside} == {"postgresql", "redis"}
    assert all(request.start_time_unix_nano <= span.start_time_unix_nano for span in inside)
    assert b"privately" not in b"".join(body for _, body in got)
    broken = next(span for span in spans if attributes(span).get("http.response.status_code") == 500)
    assert broken.status.code == 2
    service = {item.key: item.value.string_value for item in exported[0].resource_spans[0].resource.attributes}
    assert (service["service.name"], service["service.version"]) == ("hecto", "development")


def test_an_error_arrives_with_its_request_and_without_values(told):
    request_id, _, got = told
    (envelope,) = [body for path, body in got if path == "/api/7/envelope/" and b'"exception"' in body]
    event = json.loads(envelope.splitlines()[2])
    assert event["tags"]["request_id"] == request_id
    assert event["release"] == "hecto@development"
    assert event["server_name"] == event["tags"]["instance"]
    error = event["exception"]["values"][-1]
    assert error["type"] == "IntegrityError"
    assert all("vars" not in frame for value in event["exception"]["values"] for frame in value["stacktrace"]["frames"])
    assert "UniqueViolation" in json.dumps(event["exception"])
    assert all("mara" not in value["value"] for value in event["exception"]["values"])
    assert "request" not in event


def test_neither_is_imported_where_nobody_asks_for_it(site: Site):
    imports = "import hecto.gunicorn_conf, hecto.wsgi, sys"
    code = f"{imports}; print([name for name in sys.modules if name.startswith(('opentelemetry', 'sentry'))])"
    done = subprocess.run(
        [sys.executable, "-c", code], env=site.environment(), capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
