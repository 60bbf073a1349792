"""The first page: my work, how much there is, what happened last."""

from __future__ import annotations

from typing import Any, Literal

import orjson
import redis

from hecto.core.endpoints import Context, Router
from hecto.core.pages import part_or_page
from hecto.core.permissions import SIGNED_IN
from hecto.modules.tasks import queries as tasks
from hecto.modules.tasks.queries import TaskQuery
from hecto.modules.users import queries as users

router = Router("dashboard", "pages")

# As many of my tasks as fit on a screen; the rest is one click away.
MINE = 8


@router.route("GET", "/", permission=SIGNED_IN)
def home(context: Context) -> str:
    """The dashboard."""
    if not context.user.may("tasks.read"):
        return part_or_page("dashboard/_welcome.html", "dashboard/home.html", people={})
    return part_or_page(
        "dashboard/_dashboard.html",
        "dashboard/home.html",
        counts=tasks.counts(context.session),
        mine=_mine(context),
        latest=tasks.latest_activity(context.session),
        people=users.assignable(context.session),
        online=_online(context),
    )


def _mine(context: Context) -> list[dict[str, Any]]:
    """What I am doing, then what waits for me."""
    found: list[dict[str, Any]] = []
    order: tuple[Literal["doing", "open"], ...] = ("doing", "open")
    for status in order:
        query = TaskQuery(status=status, assignee=context.user.id, limit=MINE)
        found += orjson.loads(tasks.tasks_json(context.session, query))["items"]
    return found[:MINE]


def _online(context: Context) -> int | None:
    """How many people used Hecto within the last minutes; None while Redis, which counts them, is away."""
    try:
        return context.services.gate.active_users()
    except redis.RedisError:
        return None
