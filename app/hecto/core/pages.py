"""What pages need beside data: whether the browser wants a part or the whole, and how people read times and names."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

from flask import Flask, Response, request

from hecto.core import clock
from hecto.core.endpoints import page, see_other
from hecto.fleet.top import words
from hecto.fleet.words import duration

# The largest unit that fits is named, as Intl.RelativeTimeFormat writes it in the browser, which takes over from here:
# a text of the same length, or the page would move when the script starts.
_UNITS = (("yr.", 31_536_000), ("mo.", 2_592_000), ("wk.", 604_800), ("day", 86_400), ("hr.", 3600), ("min.", 60))


def install(app: Flask) -> None:
    """Give the templates their filters."""
    app.jinja_env.filters.update(ago=ago, full=full, day=day, overdue=overdue, initials=initials)
    # Amounts are told alike on pages and in the terminal of whoever runs the site.
    app.jinja_env.filters.update(
        size=words.size, rate=words.rate, percent=words.percent, seconds=words.seconds, duration=duration
    )


def wants_part() -> bool:
    """Whether htmx asks for the part of the page that it will swap."""
    return request.headers.get("HX-Request-Type") == "partial"


def part_or_page(part: str, whole: str, **values: Any) -> str:
    """Render what the browser asks for: a part to swap, or the whole page around it."""
    return page(part if wants_part() else whole, **values)


def done(where: str, record: str, part: str | None = None, **values: Any) -> Response:
    """The answer to a write: a plain form goes on to a page; htmx is told what changed, and every part that shows it
    fetches itself again. ``part`` is what takes the form's place."""
    if "HX-Request" not in request.headers:
        return see_other(where)
    content = page(part, **values) if part else None
    return Response(content, 200 if part else 204, {"HX-Trigger": f"own:{record}"})


def leave_for(where: str) -> Response:
    """The answer to a write that ends the page it was made on: the browser goes to another one."""
    if "HX-Request" not in request.headers:
        return see_other(where)
    return Response(status=200, headers={"HX-Redirect": where})


def ago(value: str | datetime) -> str:
    """How long ago a moment was: "3 min. ago"."""
    seconds = (clock.now() - _moment(value)).total_seconds()
    for name, size in _UNITS:
        if seconds >= size:
            number = int(seconds / size + 0.5)
            return f"{number} {name}{'s' if name == 'day' and number > 1 else ''} ago"
    return "just now"


def full(value: str | datetime) -> str:
    """A moment in full, in UTC: "24 Nov 2026, 14:05 UTC"."""
    return f"{_moment(value):%-d %b %Y, %H:%M} UTC"


def day(value: str | date) -> str:
    """A day as one says it: "Today", "Tomorrow", "24 Nov", "24 Nov 2027"."""
    found, today = _day(value), clock.now().date()
    near = {-1: "Yesterday", 0: "Today", 1: "Tomorrow"}.get((found - today).days)
    return near or f"{found:%-d %b}" + ("" if found.year == today.year else f" {found.year}")


def overdue(value: str | date | None) -> bool:
    """Whether the day is over."""
    return value is not None and _day(value) < clock.now().date()


def initials(name: str) -> str:
    """The first letters of the first and the last name."""
    words = name.split() or ["?"]
    return (words[0][0] + (words[-1][0] if len(words) > 1 else "")).upper()


def _moment(value: str | datetime) -> datetime:
    return value if isinstance(value, datetime) else datetime.fromisoformat(value)


def _day(value: str | date) -> date:
    return value if isinstance(value, date) else date.fromisoformat(value)
