"""After a restore: nothing that is remembered beside the database may contradict what came back.

Redis knows lists, sign-ins and events of a time that the database no longer has. All of it is made anew from the
database, so it is forgotten as a whole, and with it the epoch of the events: clients that come back are told that
something may have passed them by, and look at everything anew. Sign-ins are ended, because one that was ended after the
point of the restore would be good again.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import text

from hecto.core.db import Database
from hecto.core.store import Store
from hecto.core.unit_of_work import run

AT_ONCE = 1000

_END_SIGN_INS = text("""
    UPDATE user_session SET revoked_at = now() WHERE revoked_at IS NULL AND expires_at > now() RETURNING id
""")


def settle(database: Database, store: Store) -> dict[str, Any]:
    """Forget and end it all; says how much it was. Raises what redis-py and SQLAlchemy raise."""
    ended = run(database, lambda session: len(session.execute(_END_SIGN_INS).all()))
    forgotten, batch = 0, []
    for key in store.client.scan_iter(count=AT_ONCE):
        batch.append(key)
        if len(batch) == AT_ONCE:
            forgotten += int(store.client.unlink(*batch))
            batch = []
    if batch:
        forgotten += int(store.client.unlink(*batch))
    return {"changed": bool(ended or forgotten), "sign_ins_ended": ended, "redis_keys_forgotten": forgotten}
