"""The Socket.IO server: python-socketio's, on our engine, deaf to what no client may send, with recovery of sessions.

Recovery speaks the protocol of the JavaScript server (Socket.IO 4.6, "Connection state recovery"): CONNECT gives a
client a private `pid`, each event its offset as last argument, and a client that comes back names both.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import socketio
from socketio.exceptions import ConnectionRefusedError as Refused
from socketio.packet import ACK, BINARY_ACK, BINARY_EVENT, CONNECT, CONNECT_ERROR, DISCONNECT, EVENT

from hecto.core.permissions import Actor
from hecto.core.store import StoreUnavailable
from hecto.realtime.broadcast import Broadcast
from hecto.realtime.bus import MISSED, NAMESPACE
from hecto.realtime.engine import Engine
from hecto.realtime.packets import MalformedError
from hecto.realtime.sessions import Session, is_pid, new_pid
from hecto.realtime.stream import Position, position_of

T = TypeVar("T")
Tell = Callable[[Session, Broadcast], None]
# Of the request that opened a connection.
KEPT = ("HTTP_COOKIE",)
# Between questions to a Redis that does not answer in time and is heard all the same; the store leaves it alone for one
# second after each, and clients wait for 20.
PAUSES = (1.0, 1.5, 2.0)


@dataclass(frozen=True, slots=True)
class Admission:
    """Who connects, and what that gives."""

    actor: Actor
    # The rooms that everybody like this is in.
    rooms: frozenset[str]
    # Whether a room from before may be come back to.
    may_hear: Callable[[str], bool]
    # Whether all of this holds still. Asked when the rooms are heard: what was told before that was told nobody.
    stands: Callable[[], bool]
    # When a client that came with an access token must come with another one, in seconds since 1970.
    until: float = math.inf


class Server(socketio.Server):  # type: ignore[misc]
    """Reads packets by itself, since the library's reader logs a traceback for each that is wrong and goes on."""

    # Given the environment of the handshake and what the client says of itself; raises Refused.
    admit: Callable[[dict[str, Any], dict[str, Any]], Admission]
    # What comes first on every connection.
    greet: Callable[[str], None]

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        # The connections that are about to get a session.
        self._connecting: set[str] = set()

    def _handle_eio_connect(self, eio_sid: str, environ: dict[str, Any]) -> Any:
        """Keep of the request what says who it is, and not all of it for as long as the connection lives."""
        kept = {name: environ[name] for name in KEPT if name in environ}
        return super()._handle_eio_connect(eio_sid, kept)

    def _handle_eio_message(self, eio_sid: str, data: str | bytes) -> None:
        """Act on a packet, or on an attachment of one; raises MalformedError."""
        packet = self._binary_packet.pop(eio_sid, None)
        if packet is None:
            packet = self.packet_class(encoded_packet=data)
            complete = packet.packet_type not in (BINARY_EVENT, BINARY_ACK)
        else:
            complete = packet.add_attachment(data)
        kind = packet.packet_type
        if not complete:
            if self.manager.sid_from_eio_sid(eio_sid, packet.namespace or NAMESPACE) is None:
                raise MalformedError("attachments of somebody who has not connected")
            self._binary_packet[eio_sid] = packet
        elif kind in (EVENT, BINARY_EVENT):
            self._handle_event(eio_sid, packet.namespace, packet.id, packet.data)
        elif kind in (ACK, BINARY_ACK):
            self._handle_ack(eio_sid, packet.namespace, packet.id, packet.data)
        elif kind == CONNECT:
            self._handle_connect(eio_sid, packet.namespace, packet.data)
        elif kind == DISCONNECT:
            self._handle_leave(eio_sid)

    def _handle_connect(self, eio_sid: str, namespace: str | None, data: dict[str, Any] | None) -> None:
        if namespace not in (None, NAMESPACE) or not self._is_new(eio_sid):
            self._refuse(eio_sid, namespace, "Unable to connect")
            return
        self._connecting.add(eio_sid)
        try:
            self._connect(eio_sid, data)
        except Refused as refused:
            self._refuse(eio_sid, namespace, refused.error_args)
        finally:
            self._connecting.discard(eio_sid)

    def _is_new(self, eio_sid: str) -> bool:
        """Whether a connection has no session yet, nor asked for one; a client that polls may ask twice at once."""
        return eio_sid not in self._connecting and self.manager.sid_from_eio_sid(eio_sid, NAMESPACE) is None

    def _connect(self, eio_sid: str, data: dict[str, Any] | None) -> None:
        said = dict(data or {})
        pid, offset = said.pop("pid", None), said.pop("offset", None)
        admission = self.admit(self.environ[eio_sid], said)
        if said.get("recovery") is False:
            self._begin(eio_sid, admission, None)
        elif not self._recover(eio_sid, admission, pid, offset):
            self._begin(eio_sid, admission, new_pid())

    def _refuse(self, eio_sid: str, namespace: str | None, why: Any) -> None:
        self._send_packet(eio_sid, self.packet_class(CONNECT_ERROR, data=why, namespace=namespace))

    def _begin(self, eio_sid: str, admission: Admission, pid: str | None) -> None:
        """Connect somebody with a new session."""
        session = Session(self.eio.generate_id(), admission.actor, pid)
        session.until = admission.until
        if not self._enter(eio_sid, session, admission.rooms):
            return
        self._check(session, admission)
        if pid:
            try:
                self._ask(lambda: self.manager.sessions.open(session, dict.fromkeys(session.rooms)))
            except StoreUnavailable:
                # What nobody can take up is not promised.
                session.pid = None
        self._welcome(eio_sid, session)

    def _recover(self, eio_sid: str, admission: Admission, pid: Any, offset: Any) -> bool:
        """Connect somebody with the session from before, and tell what happened meanwhile; says whether it could."""
        last = position_of(offset)
        if not is_pid(pid) or (offset is not None and last is None):
            return False
        try:
            found = self._ask(lambda: self.manager.sessions.claim(pid, admission.actor))
        except StoreUnavailable:
            return False
        if found is None:
            return False
        session, now = found
        session.until = admission.until
        # Here as well: this instance may believe that the connection before is alive.
        self.manager.taken(session.sid, session.generation)
        try:
            missed = self._missed(eio_sid, session, admission, last, now)
        except StoreUnavailable:
            missed = None
        if missed is None:
            self.manager.forget(session)
            self.manager.end(session)
            return False
        if any(self.manager.ends(broadcast) for broadcast in missed):
            # Before it came, which it knows, or since.
            self._check(session, admission)
        self._welcome(eio_sid, session, missed)
        return True

    def _check(self, session: Session, admission: Admission) -> None:
        """See that a sign-in has not ended or changed while its rooms were not heard yet; raises Refused."""
        if not admission.stands():
            self.manager.forget(session)
            raise Refused("Your sign-in ended or changed a moment ago. Connect again.")

    def _missed(
        self, eio_sid: str, session: Session, admission: Admission, last: Position | None, now: Position
    ) -> list[Broadcast] | None:
        """Take a session's place in its rooms, and find what happened there; None when that is not known.

        The rooms are heard first, and what comes is held back: so nothing is between what was missed and what comes.
        """
        if last is None:
            # It has heard nothing yet, unless it must have.
            last = None if session.strict else Position(now.epoch, 0)
        if last is None or last.epoch != now.epoch or last.number > now.number:
            return None
        before = session.rooms
        kept = {room for room in before if room in admission.rooms or admission.may_hear(room)}
        session.rooms = {room: before[room] for room in kept}
        if not self._enter(eio_sid, session, kept | admission.rooms):
            return []
        for room in before.keys() - kept:
            self._ask(partial(self.manager.sessions.leave, session, room))
        for room in admission.rooms - kept:
            session.rooms[room] = self._ask(partial(self.manager.sessions.join, session, room)) or now.number
        starts = {room: max(last.number, since) for room, since in session.rooms.items()}
        missed: list[Broadcast] | None = self._ask(lambda: self.manager.missed_by(now.epoch, starts))
        if missed is not None:
            session.seen = max([last.number, *(broadcast.number for broadcast in missed)])
        return missed

    def _ask(self, question: Callable[[], T]) -> T:
        """Ask Redis, and again if it is only busy, or clients would lose what they can take up; StoreUnavailable."""
        for pause in PAUSES:
            try:
                return question()
            except StoreUnavailable:
                if not self.manager.listener.listening:
                    raise
                self.sleep(pause)
        return question()

    def _enter(self, eio_sid: str, session: Session, rooms: Iterable[str]) -> bool:
        """Let a socket into rooms; says whether it is still there."""
        return self.manager.admit(session, eio_sid, rooms) and self._is_here(eio_sid, session)

    def _is_here(self, eio_sid: str, session: Session) -> bool:
        """Whether a client is still there, and its session still its own; else what there was of it is forgotten."""
        if eio_sid in self.environ and self.manager.here.get(session.sid) is session:
            return True
        self.manager.forget(session)
        if (connection := self.eio.sockets.get(eio_sid)) is not None:
            connection.close(wait=False, abort=True, reason="taken up")
        return False

    def _welcome(self, eio_sid: str, session: Session, missed: Iterable[Broadcast] = ()) -> None:
        """Tell a client what it missed, that it is connected, and what came meanwhile, in this order."""
        if not self._tell(eio_sid, session, missed, self.manager.repeat):
            return
        told = {"sid": session.sid, "pid": session.pid} if session.pid else {"sid": session.sid}
        self._send_packet(eio_sid, self.packet_class(CONNECT, told, namespace=NAMESPACE))
        # While a slow client reads them, more may come.
        while session.held:
            held, session.held = session.held, []
            new = (broadcast for broadcast in held if broadcast.number > session.seen or broadcast.name == MISSED)
            if not self._tell(eio_sid, session, new, self.manager.receive):
                return
        session.held = None
        self.greet(session.sid)

    def _tell(self, eio_sid: str, session: Session, broadcasts: Iterable[Broadcast], by: Tell) -> bool:
        """Tell a client of events, as fast as it reads them; says whether it is still there."""
        for broadcast in broadcasts:
            if broadcast.room not in session.rooms:
                # An event before this one had it leave.
                continue
            by(session, broadcast)
            if not self._is_here(eio_sid, session):
                return False
            self.eio.sockets[eio_sid].breathe()
        return self._is_here(eio_sid, session)

    def _handle_leave(self, eio_sid: str) -> None:
        """The client says that it goes, so it does not come back to this session."""
        session = self.manager.here.get(self.manager.sid_from_eio_sid(eio_sid, NAMESPACE))
        self._handle_disconnect(eio_sid, NAMESPACE, self.reason.CLIENT_DISCONNECT)
        if session is not None:
            self.manager.end(session)

    def disconnect(self, sid: str, namespace: str | None = None, ignore_queue: bool = False) -> None:
        """End a client's session."""
        session = self.manager.here.get(sid)
        if session is not None and session.held is not None:
            # It has not been told that it is connected: nor is it told this. The library would not end it yet.
            self.manager.forget(session)
            session.connection.close(wait=False, abort=True, reason=self.reason.SERVER_DISCONNECT)
        else:
            super().disconnect(sid, namespace, ignore_queue)
        if session is not None:
            self.manager.end(session)

    def _engineio_server_class(self) -> type[Engine]:
        return Engine


# Flask-SocketIO takes what it finds here, and no other.
socketio.Server = Server
