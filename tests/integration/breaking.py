"""The app with a page that breaks as no page should: on a row that the database refuses, and quotes in its error."""

from __future__ import annotations

import logging

from sqlalchemy import text

from hecto.core.services import services
from hecto.core.unit_of_work import run
from hecto.wsgi import app

log = logging.getLogger("breaking")


@app.post("/api/break")
def break_down() -> str:
    def work(session):
        session.execute(text("CREATE TEMPORARY TABLE person (email text UNIQUE) ON COMMIT DROP"))
        for _ in range(2):
            session.execute(text("INSERT INTO person VALUES (:email)"), {"email": "mara@example.com"})

    run(services().database, work)
    return ""


@app.post("/api/say")
def say() -> str:
    log.warning("half a surrogate: \udc80", extra={"fields": {"more": {"a": 1}}})
    return ""


@app.post("/api/percent")
def percent() -> str:
    def work(session):
        found = session.connection().exec_driver_sql("SELECT '100%%'").scalar()
        return found + session.scalar(text("SELECT '%' || :what || '%'"), {"what": "x"})

    return run(services().database, work)
