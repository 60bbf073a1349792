"""A frame is made once, however many clients get it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from engineio.packet import MESSAGE, Packet

from hecto.core.outbox import Message
from hecto.core.store import Store
from hecto.realtime import frames
from hecto.realtime.broadcast import Broadcast, content_of
from hecto.realtime.bus import Bus
from hecto.realtime.engine import Connection
from hecto.realtime.sessions import Session

MANY = 200


class Written:
    """A WebSocket that keeps the very objects it was given."""

    def __init__(self) -> None:
        self.frames: list[bytes] = []

    def send(self, frame: bytes) -> None:
        self.frames.append(frame)


@pytest.fixture
def written() -> list[Written]:
    return [Written() for _ in range(MANY)]


@pytest.fixture
def connections(written: list[Written]) -> list[Connection]:
    return [connection_on(one) for one in written]


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """What frames were made of, one entry each."""
    found: list[bytes] = []
    whole = frames.frame

    def counted(opcode: int, payload: bytes = b"", *more: Any, **options: Any) -> bytes:
        found.append(payload)
        return whole(opcode, payload, *more, **options)

    monkeypatch.setattr(frames, "frame", counted)
    return found


def connection_on(websocket: Written) -> Connection:
    server = SimpleNamespace(
        create_queue=lambda: SimpleNamespace(Empty=None), ping_interval=25, start_background_task=lambda *_: None
    )
    connection = Connection(server, "1.a")
    connection._websocket = websocket
    connection.connected = connection.upgraded = True
    return connection


def the_same(written: list[Written]) -> bool:
    """Whether all were given one object, and not only equal ones."""
    return len({id(frame) for one in written for frame in one.frames}) == 1


def broadcast_of(payload: dict[str, Any]) -> Broadcast:
    return Broadcast("task:1", "0a1b2c3d", 17, content_of(Message("task:1", "number", payload)))


@pytest.fixture
def bus(connections: list[Connection]) -> Bus:
    """A bus with all of them in the room task:1, each in turn with recovery and without; it reaches no Redis."""
    settings: Any = SimpleNamespace(redis_user="", redis_password="", redis_socket="/nowhere")
    found = Bus(settings, Store(settings))
    sockets = {f"1.{number}": connection for number, connection in enumerate(connections)}
    found.server = SimpleNamespace(eio=SimpleNamespace(sockets=sockets))
    for number, eio_sid in enumerate(sockets):
        actor: Any = SimpleNamespace(id=number, name="Somebody")
        session = Session(f"socket {number}", actor, "a secret" if number % 2 else None)
        assert found.admit(session, eio_sid, ["task:1"])
        # It has been told that it is connected.
        session.held = None
    return found


def test_a_room_is_given_two_frames_and_each_in_it_one(bus, written, made):
    bus.deliver(broadcast_of({"n": 1}))
    assert [len(one.frames) for one in written] == [1] * MANY
    assert len(made) == 2
    assert the_same(written[0::2])
    assert the_same(written[1::2])
    assert written[0].frames != written[1].frames


def test_other_rooms_are_given_nothing(bus, written, made):
    bus.deliver(Broadcast("task:2", "0a1b2c3d", 18, content_of(Message("task:2", "number", {}))))
    assert not made
    assert not any(one.frames for one in written)


def test_all_who_recover_get_one_frame_and_all_who_do_not_another(connections, written, made):
    broadcast = broadcast_of({"n": 1})
    half = MANY // 2
    for connection in connections[:half]:
        connection.pass_on(broadcast.numbered)
    for connection in connections[half:]:
        connection.pass_on(broadcast.plain)
    assert len(made) == 2
    assert the_same(written[:half])
    assert the_same(written[half:])
    assert written[0].frames[0] == frames.frame(frames.TEXT, b'42["number",{"n":1},"0a1b2c3d-17"]')
    assert written[-1].frames[0] == frames.frame(frames.TEXT, b'42["number",{"n":1}]')


def test_attachments_are_framed_once_as_well(connections, written, made):
    broadcast = broadcast_of({"first": b"1" * 1000, "second": b"2"})
    for connection in connections:
        connection.pass_on(broadcast.numbered)
    assert len(made) == 3
    assert the_same(written)


def test_what_the_library_sends_is_framed_once(connections, written, made):
    packet = Packet(MESSAGE, '2["number",1]')
    for connection in connections:
        connection.send(packet)
    assert the_same(written)
    assert len(made) <= 1
