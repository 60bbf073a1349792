"""An event for a room, made once by whoever sends it: instances pass it on as it is and only add its offset."""

from __future__ import annotations

from typing import Any

import orjson
import socketio.packet
from engineio.packet import MESSAGE
from engineio.packet import Packet as EnginePacket
from socketio.packet import EVENT

from hecto.core.outbox import Message
from hecto.realtime import frames

# What begins with it is for the instances, not for clients: see hecto.core.live.
COMMAND = b"!"


class Form:
    """An event as some clients get it: as packets, and as `frames` in one piece for those with a WebSocket."""

    __slots__ = ("_attachments", "_packets", "_text", "frames")

    def __init__(self, text: bytes, attachments: list[bytes]) -> None:
        self._text = text
        self._attachments = attachments
        self._packets: list[EnginePacket] | None = None
        self.frames = frames.frame(frames.TEXT, b"4" + text)
        for attachment in attachments:
            self.frames += frames.frame(frames.BINARY, attachment)

    @property
    def packets(self) -> list[EnginePacket]:
        """For clients that poll."""
        if self._packets is None:
            parts = (self._text.decode(), *self._attachments)
            self._packets = [EnginePacket(MESSAGE, part) for part in parts]
        return self._packets


class Broadcast:
    """An event at its place in the order of all events; `offset` is what a client names it by, ``epoch-number``.

    In Redis it is one line, the name of the event, and behind that the packet as Socket.IO writes it, without its
    closing bracket. An event with attachments has their sizes in the line as well, ``name TAB size,size``, and they
    follow the packet.
    """

    __slots__ = ("_body", "_numbered", "_plain", "_sizes", "epoch", "name", "number", "room", "secret")

    def __init__(self, room: str, epoch: str, number: int, content: bytes) -> None:
        line, self._body = content.split(b"\n", 1)
        name, _, sizes = line.partition(b"\t")
        self.room = room
        self.epoch = epoch
        self.number = number
        self.name = name.decode()
        self.secret = name.startswith(COMMAND)
        self._sizes = [int(size) for size in sizes.split(b",")] if sizes else []
        self._numbered: Form | None = None
        self._plain: Form | None = None

    @property
    def offset(self) -> str:
        return f"{self.epoch}-{self.number}"

    @property
    def numbered(self) -> Form:
        """For a client that recovers: the offset is the last argument."""
        if self._numbered is None:
            self._numbered = self._with_end(f',"{self.offset}"]'.encode())
        return self._numbered

    @property
    def plain(self) -> Form:
        """For a client that does not, whose handlers would stumble over one argument more."""
        if self._plain is None:
            self._plain = self._with_end(b"]")
        return self._plain

    def payload(self) -> Any:
        """What was sent with it; for events without attachments."""
        return orjson.loads(self._body[1:] + b"]")[1]

    def _with_end(self, end: bytes) -> Form:
        text, attachments = self._body, []
        for size in reversed(self._sizes):
            attachments.append(text[len(text) - size :])
            text = text[: len(text) - size]
        return Form(text + end, attachments[::-1])


def content_of(message: Message) -> bytes:
    """A message as a Broadcast reads it; bytes in its payload go as attachments."""
    name = message.event.encode()
    try:
        return name + b"\n2" + orjson.dumps([message.event, message.payload])[:-1]
    except TypeError:
        encoded = socketio.packet.Packet(EVENT, data=[message.event, message.payload]).encode()
    if isinstance(encoded, str):
        return name + b"\n" + encoded[:-1].encode()
    text, *attachments = encoded
    sizes = ",".join(str(len(attachment)) for attachment in attachments).encode()
    return b"".join((name, b"\t", sizes, b"\n", text[:-1].encode(), *attachments))
