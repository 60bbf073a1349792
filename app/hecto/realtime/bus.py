"""Who is here, in which rooms, and who is told what: the client manager of the Socket.IO server.

Each room has a channel of its own, which an instance hears only while one of its sockets is in the room: what an event
costs grows with those whom it concerns, not with the number of instances. Events reach sockets from there alone, also
those that were sent from this instance, so each socket hears them in the one order that they have.

The managers that python-socketio brings have one channel for all, from which every instance reads every event.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import gevent
import orjson
from gevent.queue import SimpleQueue
from redis import RedisError
from socketio.manager import Manager

from hecto.core.outbox import Message
from hecto.core.store import Store, StoreUnavailable
from hecto.realtime.broadcast import Broadcast, content_of
from hecto.realtime.listener import Listener
from hecto.realtime.sessions import KEEP, Session, Sessions
from hecto.realtime.stream import ANNOUNCED, EVERYBODY, RELEASE_NEW, Position, Stream
from hecto.settings import Settings

log = logging.getLogger(__name__)

# Tells sockets that something may have passed them by.
MISSED = "missed"
NAMESPACE = "/"
# Events that are held back for a client that takes its time to read what it missed; then it counts as too slow.
MOST_HELD = 5_000
# What an event of some name means for each socket that it reaches, beside being passed on.
Command = Callable[[Session, Broadcast], None]


class Bus(Manager):  # type: ignore[misc]
    """The sockets of this instance."""

    def __init__(self, settings: Settings, store: Store) -> None:
        super().__init__()
        self.stream = Stream(store)
        self.listener = Listener(settings, store, self.stream, self)
        self.sessions = Sessions(store, self.listener.name)
        self.here: dict[str, Session] = {}
        # Of each room, in the order in which they came.
        self._members: dict[str, dict[Session, None]] = {}
        self.commands: dict[str, Command] = {}
        # Told of everybody who enters or leaves a room.
        self.came: Callable[[Session, str], None] = lambda session, room: None
        self.went: Callable[[Session, str], None] = lambda session, room: None
        # The release that was deployed last, and when.
        self.announced: dict[str, Any] | None = None
        self._store = store
        self._writes: SimpleQueue[Callable[[], None]] = SimpleQueue()
        # The generation at which sessions were taken up elsewhere, for as long as somebody may be on his way in.
        self._taken: dict[str, int] = {}

    def initialize(self) -> None:
        """Begin to listen."""
        self.listener.start(self._members.keys)
        gevent.spawn(self._keep_sessions)
        gevent.spawn(self._write)

    def send(self, messages: Sequence[Message]) -> None:
        """Send events to rooms, on all instances; raises StoreUnavailable."""
        self.stream.send(messages)

    # Rooms and their members.

    def admit(self, session: Session, eio_sid: str, rooms: Iterable[str]) -> bool:
        """Let a socket in, and into rooms, which are heard from then on; what they hear is held back at first.

        Says whether it is in: a session may be taken up several times at once, and the last one has it.
        """
        if self._taken.get(session.sid, 0) > session.generation:
            return False
        if (other := self.here.get(session.sid)) is not None:
            if other.generation >= session.generation:
                return False
            # It came between our claim and now.
            self.taken(session.sid, session.generation)
            self.forget(other)
        if (connection := self.server.eio.sockets.get(eio_sid)) is None:
            return False
        session.connection = connection
        connection.admitted = True
        self.here[session.sid] = session
        super().basic_enter_room(session.sid, NAMESPACE, None, eio_sid=eio_sid)
        self.listener.hear(rooms)
        if self.here.get(session.sid) is not session:
            return False
        for room in rooms:
            self._put(session, room)
        return True

    def forget(self, session: Session) -> None:
        """Forget a socket, unless another one has its session by now."""
        if self.here.get(session.sid) is session:
            self.basic_disconnect(session.sid, NAMESPACE)

    def enter_room(self, sid: str, namespace: str, room: str, eio_sid: str | None = None) -> None:
        """Put a socket into a room, also for when it comes back; raises StoreUnavailable, and KeyError if it left."""
        session = self.here[sid]
        if room in session.rooms:
            return
        self.listener.hear([room])
        if self.here.get(sid) is not session:
            return
        self._put(session, room)
        try:
            session.rooms[room] = (self.sessions.join(session, room) if session.pid else None) or 0
        except StoreUnavailable:
            self.leave_room(sid, namespace, room)
            raise

    def leave_room(self, sid: str, namespace: str, room: str) -> None:
        """Take a socket out of a room."""
        session = self.here.get(sid)
        if session is None or room not in session.rooms:
            return
        self._take_out(session, room)
        del session.rooms[room]
        if session.pid:
            self.later(lambda: self.sessions.leave(session, room))

    def _put(self, session: Session, room: str) -> None:
        self._members.setdefault(room, {})[session] = None
        session.rooms.setdefault(room, 0)
        self.came(session, room)

    def _take_out(self, session: Session, room: str) -> None:
        if (members := self._members.get(room)) is not None and session in members:
            del members[session]
            if not members:
                del self._members[room]
            self.went(session, room)

    def basic_disconnect(self, sid: str, namespace: str, **_: Any) -> None:
        """Forget a socket; its session stays in Redis for a while."""
        if (session := self.here.pop(sid, None)) is not None:
            for room in session.rooms:
                self._take_out(session, room)
        super().basic_leave_room(sid, namespace, None)
        if sid in self.pending_disconnect.get(namespace, ()):
            self.pending_disconnect[namespace].remove(sid)
        self.callbacks.pop(sid, None)

    def get_rooms(self, sid: str, namespace: str) -> list[str]:
        """The rooms that a socket is in."""
        session = self.here.get(sid)
        return list(session.rooms) if session else []

    def get_participants(self, namespace: str, room: str | None) -> Iterator[tuple[str, str]]:
        """The sockets of this instance in a room, or one by its id, as (id, id of its connection)."""
        if room is None:
            yield from super().get_participants(namespace, None)
            return
        found = [self.here[room]] if room in self.here else list(self._members.get(room, ()))
        yield from ((session.sid, session.connection.sid) for session in found)

    def is_connected(self, sid: str, namespace: str) -> bool:
        """Whether a socket has been told that it is connected, and not that it is not any more."""
        session = self.here.get(sid)
        return session is not None and session.held is None and sid not in self.pending_disconnect.get(namespace, ())

    def emit(
        self,
        event: str,
        data: Any,
        namespace: str,
        room: str | None = None,
        skip_sid: str | None = None,
        callback: Callable[..., None] | None = None,
        to: str | None = None,
        ignore_queue: bool = False,
    ) -> None:
        """Send to one socket of this instance or, by default, to a room on all of them; raises StoreUnavailable."""
        room = to or room
        if ignore_queue or callback or room in self.here:
            super().emit(event, data, namespace, room=room, skip_sid=skip_sid, callback=callback)
        elif skip_sid:
            raise ValueError("an event for a room goes to all who are in it: leave skip_sid out")
        else:
            self.send([Message(room or EVERYBODY, event, data)])

    def end(self, session: Session) -> None:
        """Let nobody take a session up any more, since it was ended on purpose."""
        if session.pid:
            self.later(lambda: self.sessions.end(session))

    def later(self, write: Callable[[], None]) -> None:
        """Write down what nobody waits for. Without Redis a session runs out, or is looked at again when it is used.

        In order and one at a time: a thousand clients that leave at once must not take every connection to Redis.
        """
        self._writes.put(write)

    def _write(self) -> None:
        for write in self._writes:
            try:
                write()
            except StoreUnavailable:
                log.info("Redis is away: a session that is kept there stays as it is")
            except Exception:
                # The next ones have nothing to do with it.
                log.exception("something about a session could not be written down")

    def _keep_sessions(self) -> None:
        """Let no session run out whose client is here."""
        while True:
            old = set(self._taken)
            gevent.sleep(KEEP)
            for sid in old:
                self._taken.pop(sid, None)
            self.keep_once()

    def keep_once(self) -> None:
        """Say of all clients that are here that they are, and write down again what Redis has lost of them."""
        try:
            lost = self.sessions.keep([one for one in self.here.values() if self._is_there(one)])
        except StoreUnavailable:
            return
        self._reopen(lost)

    def _is_there(self, session: Session) -> bool:
        """Whether the client of a session is known to hear: no session is kept for what may be a dead connection."""
        return bool(session.pid) and not session.taken and session.connection.answers

    def _reopen(self, sessions: list[Session]) -> None:
        """Write down sessions again that Redis has lost, or that go on in a new epoch."""
        for session in sessions:
            if session.pid and not session.taken and self.here.get(session.sid) is session:
                try:
                    self.sessions.open(session, dict(session.rooms))
                except StoreUnavailable:
                    # Nobody can take it up, so its client will look at everything anew.
                    return

    # What is heard.

    def deliver(self, broadcast: Broadcast) -> None:
        """Pass an event on to the sockets in its room."""
        if broadcast.name == RELEASE_NEW:
            self.announced = broadcast.payload()
        members = self._members.get(broadcast.room)
        if not members:
            return
        number, form = broadcast.number, broadcast.numbered
        ordinary = not broadcast.secret and broadcast.name not in self.commands
        # What stands in this loop is what an event costs for each socket that it reaches.
        for session in list(members):
            if session.held is not None:
                self._hold(session, broadcast)
            elif number > session.seen:
                if ordinary:
                    session.connection.pass_on(form if session.pid else broadcast.plain)
                else:
                    self.receive(session, broadcast)

    def _hold(self, session: Session, broadcast: Broadcast) -> None:
        assert session.held is not None
        session.held.append(broadcast)
        if len(session.held) > MOST_HELD:
            session.connection.close(wait=False, abort=True, reason="reads too slowly")

    def ends(self, broadcast: Broadcast) -> bool:
        """Whether an event tells clients, and has instances do something as well: that a sign-in ended or changed."""
        return broadcast.name in self.commands and not broadcast.secret

    def repeat(self, session: Session, broadcast: Broadcast) -> None:
        """Have one socket hear what it missed. To leave a room, say, holds for those who were away, too."""
        if broadcast.secret:
            self.receive(session, broadcast)
        else:
            self.pass_on(session, broadcast)

    def receive(self, session: Session, broadcast: Broadcast) -> None:
        """Pass an event on to one socket, and do with it what the event means for sockets."""
        self.pass_on(session, broadcast)
        command = self.commands.get(broadcast.name)
        # One before it may have ended it.
        if command is None or self.here.get(session.sid) is not session:
            return
        try:
            command(session, broadcast)
        except Exception:
            # Whoever sent it made a mistake, which must not make this instance deaf.
            log.exception("%s could not be obeyed", broadcast.name)

    def pass_on(self, session: Session, broadcast: Broadcast) -> None:
        """Send an event to one socket; what is for the instances is not for clients."""
        if not broadcast.secret:
            session.connection.pass_on(broadcast.numbered if session.pid else broadcast.plain)

    def missed_by(self, epoch: str, rooms: Mapping[str, int]) -> list[Broadcast] | None:
        """What was told in rooms, each behind a number; None when that is not known; raises StoreUnavailable."""
        return self._store.use(lambda client: self.stream.after(client, epoch, rooms))

    def missed(self, position: Position, *, anew: bool) -> None:
        """Tell everybody here that something may have passed them by.

        In a new epoch a client must name what it is told here, or something later, to come back: whoever was not
        reached any more does not know that something is missing.
        """
        if anew:
            self._look_for_release()
        told = Broadcast(EVERYBODY, *position, content_of(Message(EVERYBODY, MISSED, {})))
        sessions = list(self.here.values())
        for session in sessions:
            if anew:
                session.strict = True
                session.rooms = dict.fromkeys(session.rooms, position.number)
            if session.held is not None:
                session.held.append(told)
            else:
                self.pass_on(session, told)
                self.server.greet(session.sid)
        if anew and sessions:
            gevent.spawn(self._reopen, sessions)

    def taken(self, sid: str, generation: int) -> None:
        """End the connection of a session that another one has taken up."""
        # Also for one that is about to be let in, and has only been claimed.
        self._taken[sid] = max(generation, self._taken.get(sid, 0))
        session = self.here.get(sid)
        if session is None or session.generation >= generation:
            return
        session.taken = True
        session.connection.close(wait=False, abort=True, reason="taken up")

    def _look_for_release(self) -> None:
        try:
            found = self._store.client.get(ANNOUNCED)
        except RedisError:
            # The listener meets the same, and looks again.
            return
        self.announced = orjson.loads(found) if found else None
