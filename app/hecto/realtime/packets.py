"""Socket.IO packets from clients, of which nobody knows what they send: wrong ones end their connection, quietly."""

from __future__ import annotations

from typing import Any

import socketio.packet
from engineio.exceptions import EngineIOError
from engineio.packet import Packet as EnginePacket
from socketio.packet import BINARY_ACK, BINARY_EVENT, CONNECT, CONNECT_ERROR, EVENT

# A client that sends one of these as an event would run what is meant for the life of the connection.
RESERVED = frozenset(("connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"))

# They are kept until the last one is there, each as large as a message may be.
MOST_ATTACHMENTS = 10


class MalformedError(EngineIOError):  # type: ignore[misc]
    """What the client sent is no packet, or none that a client may send."""


class Packet(socketio.packet.Packet):  # type: ignore[misc]
    """A packet of Socket.IO 5; reading a malformed one raises MalformedError and nothing else."""

    def __init__(self, *arguments: Any, encoded_packet: str | bytes | None = None, **options: Any) -> None:
        if encoded_packet is not None and not encoded_packet:
            # The library would make an event without a name of it.
            raise MalformedError("a packet without anything in it")
        super().__init__(*arguments, encoded_packet=encoded_packet, **options)

    def decode(self, encoded_packet: str) -> int:
        """Read it; returns how many attachments follow."""
        if not isinstance(encoded_packet, str):
            raise MalformedError("an attachment that belongs to nothing")
        try:
            attachments: int = super().decode(encoded_packet) or 0
        except Exception as error:  # deep JSON, wrong numbers, too many attachments: whatever the library trips over
            raise MalformedError(f"not a packet: {error}") from error
        if attachments > MOST_ATTACHMENTS:
            raise MalformedError(f"{attachments} attachments, and {MOST_ATTACHMENTS} are allowed")
        self._check()
        return attachments

    def add_attachment(self, attachment: Any) -> bool:
        """Take what belongs to a binary packet; says whether it is complete."""
        if not isinstance(attachment, bytes):
            raise MalformedError("text where an attachment has to be")
        try:
            return bool(super().add_attachment(attachment))
        except Exception as error:  # a placeholder that points nowhere, or is no placeholder
            raise MalformedError(f"an attachment that does not fit: {error}") from error

    def _check(self) -> None:
        if self.packet_type > BINARY_ACK or self.packet_type == CONNECT_ERROR:
            raise MalformedError(f"clients send no packet of type {self.packet_type}")
        if self.packet_type in (EVENT, BINARY_EVENT):
            if not isinstance(self.data, list) or not self.data or not isinstance(self.data[0], str):
                raise MalformedError("an event without a name")
            if self.data[0] in RESERVED:
                raise MalformedError(f"{self.data[0]} is no event for clients to send")
        elif self.packet_type == CONNECT and not isinstance(self.data, dict | None):
            raise MalformedError("credentials that are no object")


def engine_packet(encoded: str | bytes) -> EnginePacket:
    """A packet of engine.io as a client sent it; raises MalformedError."""
    try:
        return EnginePacket(encoded_packet=encoded)
    except Exception as error:  # no digit at its beginning, nothing in it, base64 that is none
        raise MalformedError(f"not a packet of engine.io: {error}") from error
