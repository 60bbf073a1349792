"""Real time through nginx, from several instances, without anything that keeps a client at one of them."""

from __future__ import annotations

import json
from typing import Any

import pytest
import requests

SEPARATOR = "\x1e"


class Polling:
    """A session of long polling: each request on a connection of its own, as if every one came from elsewhere."""

    def __init__(self, credentials: dict[str, str], token: str) -> None:
        self.url = f"{credentials['url']}/socket.io/?EIO=4&transport=polling"
        self.ca = credentials["ca"]
        self.sid = json.loads(self.ask("GET")[0][1:])["sid"]
        self.url += f"&sid={self.sid}"
        assert self.ask("POST", "40" + json.dumps({"token": token})) == ["OK"]
        assert self.ask("GET")[0].startswith("40{")

    def ask(self, method: str, body: str = "") -> list[str]:
        """Send a request; the packets of its answer."""
        answer = requests.request(method, self.url, data=body.encode(), verify=self.ca, timeout=30)
        assert answer.status_code == 200, answer.text
        return answer.text.split(SEPARATOR)

    def next(self, event: str) -> dict[str, Any]:
        """The next event of this name."""
        while True:
            for packet in self.ask("GET"):
                if packet == "2":
                    self.ask("POST", "3")
                elif packet.startswith(f'42["{event}"'):
                    found: dict[str, Any] = json.loads(packet[2:])[1]
                    return found


@pytest.mark.timeout(120)
def test_polling_reaches_its_instance_and_hears_of_what_happens_at_others(
    credentials: dict[str, str], token: str
) -> None:
    sessions = [Polling(credentials, token) for _ in range(12)]
    # By lot: that all of them are at one happens once in some million runs.
    assert len({session.sid.partition(".")[0] for session in sessions}) >= 2
    made = requests.post(
        f"{credentials['url']}/api/tasks",
        json={"title": "Count the pallets"},
        headers={"Authorization": f"Bearer {token}"},
        verify=credentials["ca"],
        timeout=30,
    )
    assert made.status_code == 201, made.text
    assert [session.next("task.created")["id"] for session in sessions] == [made.json()["id"]] * len(sessions)
    for session in sessions:
        assert session.ask("POST", "1") == ["OK"]


@pytest.mark.parametrize("sid", ["1.AAAAAAAAAAAAAAAAAAAA", "999.AAAAAAAAAAAAAAAAAAAA", "x", "1", "hecto_1."])
def test_a_session_that_nobody_knows_is_answered(credentials: dict[str, str], sid: str) -> None:
    url = f"{credentials['url']}/socket.io/?EIO=4&transport=polling&sid={sid}"
    answer = requests.get(url, verify=credentials["ca"], timeout=30)
    assert answer.status_code == 400
    assert "Invalid session" in answer.text
