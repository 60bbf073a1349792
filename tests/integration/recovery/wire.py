"""A client by long polling, packet by packet, as the protocol's own tests write it."""

from __future__ import annotations

import json
from typing import Any

import requests

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


def said(packet: str) -> Any:
    """What a packet of the namespace / carries."""
    return json.loads(packet[2:])
