"""WebSocket frames, server side (RFC 6455): bytes in, messages out. It knows no sockets, and is tried without any.

No extension is offered, so the three reserved bits are always an error.
"""

from __future__ import annotations

import codecs
import struct
from collections.abc import Iterator
from enum import IntEnum

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
FINAL, RESERVED, MASKED = 0x80, 0x70, 0x80
# Of what controls the connection; a longer one is an error (section 5.5).
LONGEST_CONTROL = 125


class Code(IntEnum):
    """Why a connection ends (section 7.4.1)."""

    NORMAL = 1000
    GOING_AWAY = 1001
    PROTOCOL_ERROR = 1002
    NO_CODE = 1005
    NOT_UTF8 = 1007
    TOO_BIG = 1009


# What a peer may give as its reason: registered codes that go over the wire, those of libraries, and private ones.
_SAYABLE = frozenset((1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014))

Message = tuple[int, str | bytes]


class ViolationError(Exception):
    """The peer broke a rule, and the connection has to end with this code."""

    def __init__(self, code: Code, why: str) -> None:
        super().__init__(why)
        self.code = code


def frame(opcode: int, payload: bytes) -> bytes:
    """One whole message as a frame to a client, which is not masked (section 5.1)."""
    size = len(payload)
    if size < 126:
        return bytes((FINAL | opcode, size)) + payload
    if size < 65536:
        return struct.pack(">BBH", FINAL | opcode, 126, size) + payload
    return struct.pack(">BBQ", FINAL | opcode, 127, size) + payload


def frame_of(message: str | bytes) -> bytes:
    """A message as a frame: text or binary, as its type is."""
    return frame(TEXT, message.encode()) if isinstance(message, str) else frame(BINARY, message)


def closing(code: int = Code.NO_CODE, reason: str = "") -> bytes:
    """The frame that ends a connection."""
    if code == Code.NO_CODE:
        return frame(CLOSE, b"")
    return frame(CLOSE, struct.pack(">H", code) + reason.encode()[: LONGEST_CONTROL - 2])


def unmask(data: bytes, mask: bytes) -> bytes:
    """Undo a client's mask (section 5.3): as one long number, which is 20 times faster than byte by byte."""
    size = len(data)
    key = (mask * (size // 4 + 1))[:size]
    return (int.from_bytes(data, "little") ^ int.from_bytes(key, "little")).to_bytes(size, "little")


class Receiver:
    """Makes messages of a client's bytes, in whatever pieces they come; `limit` is for a message, in bytes."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._bytes = bytearray()
        # Of a message that comes in fragments.
        self._kind = CONTINUATION
        self._parts: list[bytes] = []
        self._size = 0

    def feed(self, data: bytes) -> Iterator[Message]:
        """Each message that is complete by now, as (opcode, text or bytes), controls among them.

        Of CLOSE it is the payload as it came: close_code says what it means. Raises ViolationError.
        """
        self._bytes += data
        while (head := self._head()) is not None:
            start, size = head
            end = start + size
            if len(self._bytes) < end:
                return
            first = self._bytes[0]
            payload = unmask(bytes(self._bytes[start:end]), bytes(self._bytes[start - 4 : start]))
            del self._bytes[:end]
            message = self._take(first & 0x0F, bool(first & FINAL), payload)
            if message is not None:
                yield message

    def _head(self) -> tuple[int, int] | None:
        """Where the payload of the next frame begins, and its size; None while its head is not there yet."""
        data = self._bytes
        if len(data) < 2:
            return None
        size, start = data[1] & 0x7F, 2
        self._check_head(data[0], data[1], size)
        if size == 126:
            size, start = int.from_bytes(data[2:4], "big"), 4
        elif size == 127:
            size, start = int.from_bytes(data[2:10], "big"), 10
        if len(data) < start:
            return None
        # Before it is read, or a client could fill the memory with what is refused in the end.
        if self._size + size > self._limit:
            raise ViolationError(Code.TOO_BIG, f"a message is larger than {self._limit} bytes")
        return start + 4, size

    def _check_head(self, first: int, second: int, size: int) -> None:
        opcode = first & 0x0F
        if first & RESERVED:
            raise ViolationError(Code.PROTOCOL_ERROR, "a reserved bit is set")
        if not second & MASKED:
            raise ViolationError(Code.PROTOCOL_ERROR, "a frame is not masked")
        if opcode in (CLOSE, PING, PONG):
            if size > LONGEST_CONTROL or not first & FINAL:
                raise ViolationError(Code.PROTOCOL_ERROR, "a control frame is too long or a fragment")
        elif opcode not in (CONTINUATION, TEXT, BINARY):
            raise ViolationError(Code.PROTOCOL_ERROR, f"there is no opcode {opcode}")
        elif (opcode == CONTINUATION) != (self._kind != CONTINUATION):
            raise ViolationError(Code.PROTOCOL_ERROR, "a fragment is out of turn")

    def _take(self, opcode: int, final: bool, payload: bytes) -> Message | None:
        if opcode in (CLOSE, PING, PONG):
            return opcode, payload
        if final and opcode != CONTINUATION:
            return opcode, _decoded(opcode, payload)
        if opcode != CONTINUATION:
            self._kind = opcode
            self._decoder = codecs.getincrementaldecoder("utf-8")()
        if self._kind == TEXT:
            self._check_part(payload, final)
        # Of fragments without content a client could send any number.
        if payload:
            self._parts.append(payload)
        self._size += len(payload)
        if not final:
            return None
        kind, whole = self._kind, b"".join(self._parts)
        self._kind, self._parts, self._size = CONTINUATION, [], 0
        return kind, _decoded(kind, whole)

    def _check_part(self, payload: bytes, final: bool) -> None:
        """See that a part of a text can belong to one, before the rest of it comes (section 8.1)."""
        try:
            self._decoder.decode(payload, final)
        except UnicodeDecodeError as error:
            raise ViolationError(Code.NOT_UTF8, "a text is not UTF-8") from error


def _decoded(opcode: int, payload: bytes) -> str | bytes:
    if opcode == BINARY:
        return payload
    try:
        return payload.decode()
    except UnicodeDecodeError as error:
        raise ViolationError(Code.NOT_UTF8, "a text is not UTF-8") from error


def close_code(payload: bytes) -> int:
    """Which code a client's CLOSE gives, NO_CODE for none; raises ViolationError for one that it must not give."""
    if not payload:
        return Code.NO_CODE
    code = int.from_bytes(payload[:2], "big")
    if len(payload) < 2 or not (code in _SAYABLE or 3000 <= code <= 4999):
        raise ViolationError(Code.PROTOCOL_ERROR, "the code of a closing frame is none that goes over the wire")
    _decoded(TEXT, payload[2:])
    return code
