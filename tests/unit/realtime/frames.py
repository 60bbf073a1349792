"""Frames as clients send them, for tests."""

from __future__ import annotations

import struct

from hecto.realtime.frames import unmask

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA


def masked(
    opcode: int, payload: bytes = b"", *, final: bool = True, reserved: int = 0, mask: bytes = b"\x12\x34\x56\x78"
) -> bytes:
    """A frame of a client."""
    first = (0x80 if final else 0) | reserved << 4 | opcode
    size = len(payload)
    if size < 126:
        head = bytes((first, 0x80 | size))
    elif size < 65536:
        head = struct.pack(">BBH", first, 0x80 | 126, size)
    else:
        head = struct.pack(">BBQ", first, 0x80 | 127, size)
    # The same operation puts a mask on and takes it off.
    return head + mask + unmask(payload, mask)


def closing(code: int | None = None, reason: bytes = b"") -> bytes:
    return masked(CLOSE, b"" if code is None else struct.pack(">H", code) + reason)


def fragments(opcode: int, payload: bytes, size: int) -> list[bytes]:
    """A message in frames of at most `size` bytes."""
    parts = [payload[at : at + size] for at in range(0, len(payload), size)] or [b""]
    return [masked(CONTINUATION if at else opcode, part, final=at == len(parts) - 1) for at, part in enumerate(parts)]
