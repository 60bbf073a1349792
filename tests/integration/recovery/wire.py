"""Clients packet by packet, as the protocol's own tests write them: by long polling, and by WebSocket."""

from __future__ import annotations

import json
import socket
import struct
from typing import Any

import requests

from tests.integration.peer import Peer
from tests.unit.realtime.frames import TEXT

WEBSOCKET = "/socket.io/?EIO=4&transport=websocket"
POLLING = "/socket.io/?EIO=4&transport=polling"
SEPARATOR = "\x1e"


class Polling:
    """One connection; it says what it is told, and gives what comes as text."""

    def __init__(self, url: str) -> None:
        self._http = requests.Session()
        opened = self._http.get(url + POLLING, timeout=10)
        self._url = f"{url}{POLLING}&sid={json.loads(opened.text[1:])['sid']}"

    def post(self, packet: str) -> int:
        """Send a packet; returns the status of the answer."""
        return self._http.post(self._url, data=packet.encode(), timeout=10).status_code

    def until(self, start: str) -> list[str]:
        """The packets up to the first that begins so; pings are answered and left out."""
        found: list[str] = []
        while not any(packet.startswith(start) for packet in found):
            answer = self._http.get(self._url, timeout=5)
            assert answer.status_code == 200, f"{answer.text} after {found}"
            for packet in answer.text.split(SEPARATOR):
                if packet == "2":
                    self.post("3")
                elif packet != "6":
                    found.append(packet)
        return found

    def connect(self, **auth: Any) -> list[str]:
        """Say CONNECT; returns the packets up to its answer."""
        assert self.post("40" + json.dumps(auth)) == 200
        return self.until("40")

    def close(self) -> None:
        """End the connection below Socket.IO."""
        assert self.post("1") == 200


class Wire:
    """A client with a WebSocket that comes back to its session; one of hundreds, so it costs no process and no thread.

    It connects when it is told to, and knows what it has heard.
    """

    def __init__(self, token: str) -> None:
        self._token = token
        self._peer: Peer | None = None
        # What names the session from before.
        self._session: dict[str, str] = {}
        self.heard: list[int] = []
        self.offset = ""

    def connect(self, port: int) -> bool:
        """Connect or come back; says whether it has the session from before."""
        self._peer = Peer(port, WEBSOCKET, seconds=30)
        assert self._next().startswith("0{")
        more = {"pid": self._session["pid"]} if self._session else {}
        more |= {"offset": self.offset} if self.offset else {}
        self._peer.text("40" + json.dumps({"token": self._token, **more}))
        while not (packet := self._next()).startswith("40{"):
            self._take(packet)
        before, self._session = self._session, said(packet)
        return self._session == before

    def hear(self, number: int) -> list[int]:
        """All that it has heard when it has heard this number."""
        while number not in self.heard:
            self._take(self._next())
        return self.heard

    def drop(self) -> None:
        """End the TCP connection without a word: the other side gets a reset."""
        if self._peer is None:
            return
        self._peer.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._peer.close()
        self._peer = None

    def _take(self, packet: str) -> None:
        event, payload, *offset = said(packet)
        if offset:
            self.offset = offset[0]
        if event == "number":
            self.heard.append(payload["n"])

    def _next(self) -> str:
        """The next packet; pings are answered and left out."""
        assert self._peer is not None
        while True:
            found = self._peer.frame()
            assert found is not None, f"the connection ended after {self.heard}"
            if found == (TEXT, b"2"):
                self._peer.text("3")
            elif found[0] == TEXT:
                return found[1].decode()


def said(packet: str) -> Any:
    """What a packet of the namespace / carries."""
    return json.loads(packet[2:])
