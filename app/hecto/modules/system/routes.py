"""The page of the system; it needs no other program to look at."""

from __future__ import annotations

from hecto.core.endpoints import Context, Router
from hecto.core.pages import part_or_page
from hecto.modules.system import service

router = Router("system", "pages")


@router.route("GET", "/system", permission="system.read", transaction=False)
def system(context: Context) -> str:
    """How the whole site is doing; the part below the heading fetches itself again while somebody looks."""
    return part_or_page("system/_system.html", "system/home.html", now=service.look(context.services))
