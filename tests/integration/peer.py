"""A WebSocket client that sends what it is told to, right or wrong, and says what it gets, byte for byte."""

from __future__ import annotations

import os
import socket
import struct
from dataclasses import dataclass, field

from tests.unit.realtime.frames import masked

HANDSHAKE = (
    "GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n{more}\r\n"
)
# The example of RFC 6455, section 1.3.
ACCEPTED = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


@dataclass
class Said:
    """What came until the connection ended: messages and pongs in order, and the closing frame."""

    messages: list[tuple[int, bytes]] = field(default_factory=list)
    # The payload of the closing frame; None when the connection ended without one.
    farewell: bytes | None = None

    @property
    def code(self) -> int | None:
        return struct.unpack(">H", self.farewell[:2])[0] if self.farewell else None


class Peer:
    """A client at the address of an instance; `seconds` bound every wait."""

    def __init__(self, port: int, path: str, *, seconds: float = 20, more: str = "", receive_buffer: int = 0) -> None:
        self.socket = socket.socket(socket.AF_INET)
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.settimeout(seconds)
        self.socket.connect(("127.0.0.1", port))
        self.socket.sendall(HANDSHAKE.format(path=path, host=f"127.0.0.1:{port}", more=more).encode())
        head = b""
        while b"\r\n\r\n" not in head:
            data = self.socket.recv(1)
            assert data, head
            head += data
        self.head = head.decode()
        assert self.head.startswith("HTTP/1.1 101 "), self.head
        assert ACCEPTED in self.head
        self._rest = b""

    def send(self, data: bytes, chop: int = 0) -> None:
        """Send bytes, in pieces of `chop` when it is not 0. Of an end meanwhile `listen` tells."""
        try:
            for at in range(0, len(data), chop or len(data) or 1):
                self.socket.sendall(data[at : at + (chop or len(data))])
        except (BrokenPipeError, ConnectionResetError):
            pass

    def frame(self) -> tuple[int, bytes] | None:
        """The next frame as (opcode, payload); None at the end of the connection."""
        try:
            head = self._read(2)
            assert head[0] & 0x80, "the server never sends fragments"
            assert not head[0] & 0x70, "no extension was agreed on"
            assert not head[1] & 0x80, "a server's frame is not masked"
            size = head[1]
            if size >= 126:
                size = int.from_bytes(self._read(2 if size == 126 else 8), "big")
            return head[0] & 0x0F, self._read(size)
        except (EOFError, ConnectionResetError):
            return None

    def listen(self) -> Said:
        """Everything until the end of the connection."""
        said = Said()
        while (found := self.frame()) is not None:
            if found[0] == 8:
                said.farewell = found[1]
            else:
                said.messages.append(found)
        return said

    def text(self, content: str) -> None:
        self.send(masked(1, content.encode(), mask=os.urandom(4)))

    def close(self) -> None:
        self.socket.close()

    def _read(self, size: int) -> bytes:
        parts = [self._rest]
        have = len(self._rest)
        while have < size:
            data = self.socket.recv(max(65536, size - have))
            if not data:
                raise EOFError
            parts.append(data)
            have += len(data)
        whole = b"".join(parts)
        self._rest = whole[size:]
        return whole[:size]
