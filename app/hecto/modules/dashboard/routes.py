"""The first page: my work, how much there is, what happened last."""

from __future__ import annotations

from typing import Any, Literal

import orjson
from sqlalchemy.orm import Session

from hecto.core.endpoints import Context, Router, page
from hecto.core.pages import part_or_page
from hecto.core.permissions import SIGNED_IN
from hecto.core.store import StoreUnavailable
from hecto.modules.tasks import queries as tasks
from hecto.modules.tasks.queries import TaskQuery
from hecto.modules.tasks.service import CACHE
from hecto.modules.users import queries as users

router = Router("dashboard", "pages")

# As many of my tasks as fit on a screen; the rest is one click away.
MINE = 8
SEES_USERS = "users.read"


@router.route("GET", "/", permission=SIGNED_IN, transaction=False)
def home(context: Context) -> str:
    """The dashboard."""
    if not context.user.may("tasks.read"):
        return part_or_page("dashboard/_welcome.html", "dashboard/home.html", people={})
    # Redis goes first: nobody waits for it with a database connection in hand.
    values = {"present": _present(context), "counts": _counts(context)}
    values |= context.read(lambda session: _work(context, session))
    return part_or_page("dashboard/_dashboard.html", "dashboard/home.html", **values)


@router.route("GET", "/present", permission=SEES_USERS, transaction=False)
def present(context: Context) -> str:
    """Who is here; a part of the dashboard that fetches itself again."""
    return page("dashboard/_present.html", present=_present(context))


def _work(context: Context, session: Session) -> dict[str, Any]:
    return {
        "mine": _mine(context, session),
        "latest": tasks.latest_activity(session),
        "people": users.assignable(session),
    }


def _counts(context: Context) -> dict[str, int]:
    """How many tasks there are by status: counted once a change, not once a viewer and change."""
    found = context.services.cache.get(CACHE, "counts", lambda: context.read(tasks.counts_json))
    numbers = {"open": 0, "doing": 0, "done": 0}
    numbers.update(orjson.loads(found))
    return numbers


def _mine(context: Context, session: Session) -> list[dict[str, Any]]:
    """What I am doing, then what waits for me."""
    found: list[dict[str, Any]] = []
    order: tuple[Literal["doing", "open"], ...] = ("doing", "open")
    for status in order:
        query = TaskQuery(status=status, assignee=context.user.id, limit=MINE)
        found += orjson.loads(tasks.tasks_json(session, query))["items"]
    return found[:MINE]


def _present(context: Context) -> list[dict[str, Any]] | None:
    """Who has Hecto open, with whoever asks; None for those who may not see it, and while Redis is away."""
    user = context.user
    if not user.may(SEES_USERS):
        return None
    try:
        others = [person for person in context.services.present() if person["id"] != user.id]
    except StoreUnavailable:
        return None
    # A page is made before it connects, so the own presence is not told yet.
    return sorted([*others, {"id": user.id, "name": user.name}], key=lambda person: str(person["name"]).lower())
