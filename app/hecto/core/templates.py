"""What every template can use: the assets by name, who is signed in, and how dates are shown."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

import orjson
from flask import Flask, Response, g, send_from_directory

from hecto.core import clock
from hecto.core.services import services

DIST = Path(__file__).parent.parent / "static" / "dist"
# The name of a built file carries the hash of its content, so it never changes.
FOREVER = 365 * 24 * 3600


def install(app: Flask) -> None:
    """Give the templates their globals, and serve the assets where no nginx does."""
    manifest: dict[str, str] = {}
    if (DIST / "manifest.json").exists():
        manifest.update(orjson.loads((DIST / "manifest.json").read_bytes()))

    def asset(name: str) -> str:
        """The address of a built asset; raises LookupError for one that was not built."""
        if name not in manifest:
            raise LookupError(f"the asset {name} was not built: run npm ci && npm run build in app/frontend")
        return f"/static/{manifest[name]}"

    def static(name: str) -> Response:
        return send_from_directory(DIST, name, max_age=FOREVER)

    app.add_url_rule("/static/<path:name>", "static", static, methods=["GET"])
    app.jinja_env.globals["asset"] = asset
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True
    app.jinja_env.filters["moment"] = moment
    app.context_processor(_request_values)


def _request_values() -> dict[str, Any]:
    context = g.get("context")
    return {
        "actor": context.actor if context else None,
        "csrf_token": context.csrf_token() if context else "",
        "release": services().instance.release,
        "made": clock.now().timestamp(),
    }


def moment(value: str | datetime) -> datetime:
    """A point in time out of the JSON that PostgreSQL made, for templates that format it."""
    return value if isinstance(value, datetime) else datetime.fromisoformat(value)
