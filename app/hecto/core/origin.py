"""Writes that come with a cookie must come from our own pages."""

from __future__ import annotations

from flask import request

from hecto.core.errors import Forbidden
from hecto.core.input import CSRF_FIELD
from hecto.core.permissions import Actor
from hecto.core.security import same
from hecto.core.services import Services

CSRF_HEADER = "X-CSRF-Token"


def check(shared: Services, actor: Actor | None) -> None:
    """Refuse a write from another site: by Origin and Sec-Fetch-Site, and for a signed-in browser by the CSRF token.

    Also without a session, or a foreign page could sign somebody in as its own user. Raises Forbidden.
    """
    site = request.headers.get("Sec-Fetch-Site", "none")
    sender = request.headers.get("Origin")
    if actor is None and request.path.startswith("/api/") and sender in shared.settings.cors_origins:
        return
    if site not in ("none", "same-origin") or (sender is not None and sender != shared.settings.public_url):
        raise Forbidden(
            f"This form was sent from another address than {shared.settings.public_url}. Open Hecto at that address; "
            "the administrator sets it as hecto_public_url."
        )
    if actor is None:
        return
    token = request.headers.get(CSRF_HEADER) or request.form.get(CSRF_FIELD, "")
    if not same(token, shared.tokens.csrf(actor.session_id)):
        raise Forbidden("This page is out of date. Load it again and repeat what you did.")
