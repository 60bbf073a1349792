"""Rooms of records: a client asks to hear what happens to one, and may if it may see the record.

A room is named by kind and id, ``task:17``. Each module that has records of a kind gives the check, the one that its
pages and its API use, too. It is asked again when a client comes back.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from sqlalchemy.orm import Session as DatabaseSession

from hecto.core.errors import DomainError
from hecto.core.input import LARGEST_ID
from hecto.core.live import DISCONNECT, JOIN, LEAVE, OWN_KINDS, record_room
from hecto.core.permissions import Actor
from hecto.core.services import Services
from hecto.core.store import StoreUnavailable
from hecto.core.unit_of_work import read
from hecto.realtime.broadcast import Broadcast
from hecto.realtime.presence import Presence
from hecto.realtime.protocol import Server
from hecto.realtime.sessions import Session

# Whether somebody may see a record of a kind.
Visible = Callable[[DatabaseSession, Actor, int], bool]
Kinds = Mapping[str, Visible]

# Of one client: a browser shows one record at a time, a script may follow some.
MOST = 50

# Between attempts to have a client come back to a room, while Redis is away.
PAUSE = 1.0

Answer = dict[str, Any]


class Rooms:
    """Lets clients of this instance into rooms of records, and out again."""

    def __init__(self, server: Server, services: Services, kinds: Kinds, presence: Presence) -> None:
        if forbidden := OWN_KINDS & kinds.keys():
            raise ValueError(f"{', '.join(forbidden)} cannot be joined by name")
        self._server = server
        self._services = services
        self._kinds = kinds
        self._presence = presence
        server.on("join", self._join)
        server.on("leave", self._leave)
        server.manager.commands |= {JOIN: self._told_to_join, LEAVE: self._told_to_leave, DISCONNECT: self._told_to_end}

    def may_hear(self, actor: Actor, room: str) -> bool:
        """Whether somebody may come back to a room; raises Unavailable. What code put them into stays theirs."""
        kind, _, number = room.partition(":")
        if kind in OWN_KINDS:
            return False
        return kind not in self._kinds or self._visible(actor, kind, number)

    def _visible(self, actor: Actor, kind: str, number: str) -> bool:
        if not (number.isascii() and number.isdigit() and len(number) < 20 and 0 < int(number) <= LARGEST_ID):
            return False
        return read(self._services.database, lambda session: self._kinds[kind](session, actor, int(number)))

    def _join(self, sid: str, room: object = None, *_: object) -> Answer:
        """A client asks to hear of a record; who else is there is the answer."""
        try:
            return self._let_in(sid, str(room))
        except KeyError:
            # It left meanwhile.
            return {}
        except StoreUnavailable:
            return _error("Live updates are away", "Redis does not answer. Join again in a moment.")
        except DomainError as error:
            return _error(error.title, error.detail)

    def _let_in(self, sid: str, room: str) -> Answer:
        manager = self._server.manager
        kind, _, number = room.partition(":")
        if kind not in self._kinds or not self._visible(manager.here[sid].actor, kind, number):
            return _error("There is no such room", f"There is no {room[:100]!r}, or you may not see it.")
        if len(manager.here[sid].rooms) >= MOST:
            return _error("Too many rooms", f"You may be in {MOST} at a time. Leave some first.")
        room = record_room(kind, int(number))
        manager.enter_room(sid, "/", room)
        # Who was taken out of it after the first look and before this one was not told so: nobody was in the room yet.
        if not self._visible(manager.here[sid].actor, kind, number):
            manager.leave_room(sid, "/", room)
            return _error("There is no such room", f"There is no {room!r} for you any more.")
        return {"room": room, "present": self._presence.of(room)}

    def _leave(self, sid: str, room: object = None, *_: object) -> Answer:
        if isinstance(room, str) and room.partition(":")[0] in self._kinds:
            self._server.manager.leave_room(sid, "/", room)
        return {}

    def _told_to_join(self, session: Session, broadcast: Broadcast) -> None:
        told = broadcast.payload()
        if told.get("user", session.actor.id) == session.actor.id:
            self._server.manager.later(partial(self._enter, session, told["room"]))

    def _enter(self, session: Session, room: str) -> None:
        """Put a client into a room, however long Redis takes: nobody would know that it hears less than it should."""
        while self._server.manager.here.get(session.sid) is session:
            try:
                self._server.manager.enter_room(session.sid, "/", room)
            except StoreUnavailable:
                self._server.sleep(PAUSE)
            else:
                return

    def _told_to_leave(self, session: Session, broadcast: Broadcast) -> None:
        told = broadcast.payload()
        if told.get("user", session.actor.id) == session.actor.id:
            self._server.manager.leave_room(session.sid, "/", broadcast.room)

    def _told_to_end(self, session: Session, broadcast: Broadcast) -> None:
        if broadcast.payload().get("user", session.actor.id) == session.actor.id:
            self._server.disconnect(session.sid)


def _error(title: str, detail: str) -> Answer:
    return {"error": {"title": title, "detail": detail}}
