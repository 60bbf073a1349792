"""The OpenAPI 3.1 document of the JSON API, made from the declarations of the routes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from typing import Any

import orjson
from flask import Flask, Response
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from hecto import __version__
from hecto.core.endpoints import Endpoint, Router
from hecto.core.health import Health
from hecto.core.permissions import PUBLIC

REFERENCE = "#/components/schemas/{model}"


class Problem(BaseModel):
    """An error (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str
    request_id: str
    errors: list[dict[str, str]] | None = None


def install(app: Flask, routers: Sequence[Router]) -> None:
    """Serve the document at /api/openapi.json. It needs no sign-in: it tells nothing that the source does not."""

    # When it is first asked for: most instances never are, and it would take each of their starts 20 ms.
    @cache
    def content() -> bytes:
        return orjson.dumps(document(routers), option=orjson.OPT_INDENT_2)

    def openapi() -> Response:
        return Response(content(), content_type="application/json")

    app.add_url_rule("/api/openapi.json", "openapi", openapi, methods=["GET"])


def document(routers: Sequence[Router]) -> dict[str, Any]:
    """The document as a structure of plain values."""
    found = [endpoint for router in routers for endpoint in router.endpoints if endpoint.path.startswith("/api/")]
    schemas = _schemas(found)
    paths: dict[str, dict[str, Any]] = {}
    for endpoint in found:
        path = re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", endpoint.path)
        paths.setdefault(path, {})[endpoint.method.lower()] = _operation(endpoint, schemas)
    health_answer = {"200": _content("How this instance and its services are", Health)}
    paths["/api/health"] = {
        "get": {"summary": "Health", "operationId": "health", "security": [], "responses": health_answer}
    }
    return {
        "openapi": "3.1.0",
        "info": {"title": "Hecto", "version": __version__},
        "paths": dict(sorted(paths.items())),
        "components": {
            "schemas": schemas,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}},
        },
        "security": [{"token": []}],
    }


def _schemas(found: Sequence[Endpoint]) -> dict[str, Any]:
    inputs = {model for endpoint in found for model in (endpoint.query, endpoint.body) if model is not None}
    outputs = {endpoint.answers for endpoint in found if endpoint.answers is not None} | {Problem, Health}
    wanted = [(model, "validation") for model in inputs] + [(model, "serialization") for model in outputs]
    wanted.sort(key=lambda pair: pair[0].__name__)
    _, together = models_json_schema(wanted, ref_template=REFERENCE)  # type: ignore[arg-type]
    schemas: dict[str, Any] = together["$defs"]
    return schemas


def _operation(endpoint: Endpoint, schemas: dict[str, Any]) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": endpoint.view.__name__,
        "summary": (endpoint.view.__doc__ or endpoint.view.__name__).strip().splitlines()[0],
        "tags": [endpoint.name.split(".")[0]],
        "responses": _responses(endpoint),
    }
    if endpoint.permission == PUBLIC:
        operation["security"] = []
    else:
        operation["description"] = f"Permission: `{endpoint.permission}`"
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "integer", "minimum": 1}}
        for name in re.findall(r"<id:(\w+)>", endpoint.path)
    ]
    if endpoint.query is not None:
        fields = schemas[endpoint.query.__name__]
        required = fields.get("required", [])
        parameters += [
            {"name": name, "in": "query", "required": name in required, "schema": schema}
            for name, schema in fields["properties"].items()
        ]
    if parameters:
        operation["parameters"] = parameters
    if endpoint.body is not None:
        operation["requestBody"] = {"required": True, "content": _json(endpoint.body)}
    return operation


def _responses(endpoint: Endpoint) -> dict[str, Any]:
    success: dict[str, Any] = {"description": "Done"}
    if endpoint.answers is not None:
        success = _content("Done", endpoint.answers)
    problem = {
        "description": "What went wrong, and what to do about it",
        "content": {"application/problem+json": {"schema": {"$ref": REFERENCE.format(model="Problem")}}},
    }
    return {str(endpoint.status): success, "default": problem}


def _content(description: str, model: type[BaseModel]) -> dict[str, Any]:
    return {"description": description, "content": _json(model)}


def _json(model: type[BaseModel]) -> dict[str, Any]:
    return {"application/json": {"schema": {"$ref": REFERENCE.format(model=model.__name__)}}}
