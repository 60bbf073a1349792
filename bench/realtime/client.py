"""Many Socket.IO clients in one process and one thread, so cheap that the servers are what is measured.

They speak just enough of RFC 6455, engine.io 4 and Socket.IO 5, and look only for three numbers in an event. What does
not go as it should ends the run: a figure from a run that lost an event is none.
"""

from __future__ import annotations

import os
import re
import resource
import select
import socket
import struct
import time
from array import array
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from bench.realtime.emitting import EVENT, room_name
from control.progress import Failure

HANDSHAKE = (
    b"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: 127.0.0.1\r\n"
    b"Upgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
# At a time. A server then always has the next one to do, and none waits long enough to be given up.
SHAKING_HANDS = 20
# For a handshake that makes no progress, and for the last event after the last one was emitted.
PATIENCE = 30.0
# Servers may put more behind the payload; that is theirs.
TOLD = f'42["{EVENT}",'.encode()
NUMBERS = re.compile(rb'"seq":(\d+),"at":(\d+)')
PING = b"2"
# FIN and the opcode of a text (RFC 6455, section 5.2).
TEXT_FRAME = 0x81


def masked(text: bytes) -> bytes:
    """A text as a client's frame. A mask of zeros is one, and changes nothing (RFC 6455, section 5.3)."""
    size = bytes((0x80 | len(text),)) if len(text) < 126 else struct.pack(">BH", 0x80 | 126, len(text))
    return bytes((TEXT_FRAME,)) + size + bytes(4) + text


PONG = masked(b"3")


@dataclass(frozen=True)
class Seat:
    """Where a client connects, with what it signs in, and the number of the room that it enters."""

    path: Path
    token: str = ""
    room: int | None = None


@dataclass
class Heard:
    """What all clients got; latencies are in nanoseconds, from the moment in the event to its receipt."""

    events: int = 0
    repeated: int = 0
    reordered: int = 0
    lost: int = 0
    latencies: array[int] = field(default_factory=lambda: array("q"))


class Peer:
    """One client, connected when its server has said so and it is in its room."""

    def __init__(self, seat: Seat) -> None:
        self.seat = seat
        self.connected = False
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(PATIENCE)
        self.socket.connect(str(seat.path))
        self.socket.sendall(HANDSHAKE)
        self.socket.setblocking(False)
        self.next = 0
        self.missing: set[int] = set()
        self._rest = b""
        self._shaken = False

    def packets(self, data: bytes) -> Iterator[bytes]:
        """The engine.io packets that are complete by now; pings are answered and left out."""
        data = self._rest + data
        at = 0 if self._shaken else self._shake_hands(data)
        while self._shaken and (found := _frame(data, at)) is not None:
            start, end = found
            if data[at] != TEXT_FRAME:
                raise Failure(
                    f"the server ended a connection or sent no text: {data[at:end][:80]!r}",
                    advice="look into the log of the server; the run keeps none of its figures",
                )
            packet = data[start:end]
            at = end
            if packet == PING:
                self.socket.send(PONG)
            else:
                yield packet
        self._rest = data[at:]

    def take(self, packet: bytes) -> None:
        """Go the next step towards being connected, with what the server said."""
        if packet.startswith(b"0{"):
            self.socket.send(masked(b'40{"token":"%s"}' % self.seat.token.encode() if self.seat.token else b"40"))
        elif packet.startswith(b"40"):
            if self.seat.room is None:
                self.connected = True
            else:
                self.socket.send(masked(b'420["enter","%s"]' % room_name(self.seat.room).encode()))
        elif packet.startswith(b"430"):
            self.connected = True
        elif packet.startswith(b"44"):
            raise Failure(
                f"the server refused a client: {packet[:200].decode()}",
                advice="look into its log; it must let in as many as the benchmark connects",
            )

    def count(self, heard: Heard, number: int) -> None:
        """Count an event by its number: events of a room are numbered without gaps."""
        if number == self.next:
            self.next += 1
        elif number > self.next:
            self.missing.update(range(self.next, number))
            self.next = number + 1
        elif number in self.missing:
            self.missing.remove(number)
            heard.reordered += 1
        else:
            heard.repeated += 1

    def _shake_hands(self, data: bytes) -> int:
        """Read the answer to the handshake, when it is whole; returns where the frames after it begin."""
        head, found, _ = data.partition(b"\r\n\r\n")
        if not found:
            return 0
        if not head.startswith(b"HTTP/1.1 101 "):
            raise Failure(
                f"{self.seat.path.name} did not shake hands: {data[:300].decode(errors='replace')}",
                advice="look into its log; it must speak Socket.IO at /socket.io/",
            )
        self._shaken = True
        return len(head) + len(found)


class Crowd:
    """Clients that are connected for a while."""

    def __init__(self) -> None:
        self.heard = Heard()
        self._poll = select.epoll()
        self._peers: dict[int, Peer] = {}
        self._waiting: deque[Seat] = deque()
        self._coming: set[Peer] = set()

    def __enter__(self) -> Crowd:
        return self

    def __exit__(self, *_: object) -> None:
        for peer in self._peers.values():
            peer.socket.close()
        self._peers.clear()
        self._poll.close()

    def connect(self, seats: Iterable[Seat]) -> None:
        """Connect a client for each seat, a few at a time, until all of them are in their rooms."""
        self._waiting.extend(seats)
        expected = len(self._peers) + len(self._waiting)
        progress = time.monotonic()
        last = len(self._waiting) + 1
        while self._waiting or self._coming:
            while self._waiting and len(self._coming) < SHAKING_HANDS:
                self._add(Peer(self._waiting.popleft()))
            self._turn()
            left = len(self._waiting) + len(self._coming)
            if left < last:
                last, progress = left, time.monotonic()
            elif time.monotonic() - progress > PATIENCE:
                raise Failure(
                    f"{left} of {expected} clients were not connected, and for {PATIENCE:.0f} s none was",
                    advice="look into the log of the server; the machine may be too busy for this many",
                )

    def begin(self, first: int) -> None:
        """Count anew: the next event of every room has this number."""
        self.heard = Heard()
        for peer in self._peers.values():
            peer.next, peer.missing = first, set()

    def have_heard(self, number: int) -> int:
        """How many clients have heard the event of their room with this number, or a later one."""
        return sum(peer.next > number for peer in self._peers.values())

    def listen(self, until: Callable[[], bool], seconds: float) -> bool:
        """Take what comes until a condition holds; says whether it did within the time."""
        deadline = time.monotonic() + seconds
        while not (held := until()) and time.monotonic() < deadline:
            self._turn()
        return held

    def end(self, emitted: int) -> Heard:
        """What was heard since it began; `emitted` is the number after the last one of every room."""
        for peer in self._peers.values():
            if peer.seat.room is not None:
                self.heard.lost += len(peer.missing) + emitted - peer.next
        return self.heard

    def _add(self, peer: Peer) -> None:
        self._peers[peer.socket.fileno()] = peer
        self._coming.add(peer)
        self._poll.register(peer.socket.fileno(), select.EPOLLIN)

    def _turn(self) -> None:
        """Take what came, of at most a thousand clients at a time."""
        for descriptor, _ in self._poll.poll(0.05, 1000):
            peer = self._peers[descriptor]
            try:
                data = peer.socket.recv(262_144)
            except BlockingIOError:
                continue
            if not data:
                raise Failure(
                    f"{peer.seat.path.name} ended the connection of a client",
                    advice="look into its log; a client that is gone hears nothing, so there are no figures",
                )
            self._take(peer, data)

    def _take(self, peer: Peer, data: bytes) -> None:
        now = time.monotonic_ns()
        for packet in peer.packets(data):
            if packet.startswith(TOLD):
                found = NUMBERS.search(packet)
                if found is None:
                    raise Failure(f"an event without its numbers: {packet[:200]!r}", advice="see emitting.py")
                peer.count(self.heard, int(found[1]))
                self.heard.events += 1
                self.heard.latencies.append(now - int(found[2]))
            elif not peer.connected:
                peer.take(packet)
                if peer.connected:
                    self._coming.discard(peer)


def _frame(data: bytes, at: int) -> tuple[int, int] | None:
    """Where the payload of the frame at a place begins and ends; None when it is not whole yet."""
    if len(data) - at < 2:
        return None
    size, start = data[at + 1] & 0x7F, at + 2
    if size == 126:
        size, start = int.from_bytes(data[start : start + 2], "big"), start + 2
    elif size == 127:
        size, start = int.from_bytes(data[start : start + 8], "big"), start + 8
    return (start, start + size) if start + size <= len(data) else None


def percentile(values: array[int], share: float) -> int:
    """The value that `share` of all values, from 0 to 1, do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def raise_limits(descriptors: int) -> None:
    """Let this process and its children open as many files."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < descriptors and os.geteuid() != 0:
        raise Failure(
            f"this account may open {hard} files, and {descriptors} are needed",
            advice=f"as root: ulimit -Hn {descriptors}, or run fewer sockets",
        )
    highest = max(hard, descriptors)
    resource.setrlimit(resource.RLIMIT_NOFILE, (highest, highest))
