"""The app with a presence that is said often and holds for a short time: a test waits for its end."""

from __future__ import annotations

from hecto.realtime import presence
from hecto.wsgi import app

presence.SAY, presence.HOLDS = 0.5, 2

__all__ = ["app"]
