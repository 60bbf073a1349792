"""Two hundred open pages while every instance is restarted: each hears all of it, once and in one order."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.host.conftest import Hecto
from tests.integration.recovery.clients import NodeClient, NodeClients
from tests.servers import wait_until

CLIENTS = 200
# Each has its own allowance of requests, and clients that come back make some.
USERS = 5
# Between two changes.
PAUSE = 0.2


class Writer:
    """Creates tasks until its block ends."""

    def __init__(self, credentials: dict[str, str], token: str) -> None:
        self.created: list[int] = []
        self.refused: list[str] = []
        self._credentials, self._token = credentials, token
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Writer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join(60)

    def _run(self) -> None:
        headers = {"Authorization": f"Bearer {self._token}"}
        while not self._over.wait(PAUSE):
            made = _post(self._credentials, "/api/tasks", {"title": "Sweep the yard"}, headers)
            if made.status_code == 201:
                self.created.append(made.json()["id"])
            else:
                self.refused.append(made.text)


@pytest.fixture
def tokens(credentials: dict[str, str], token: str) -> list[str]:
    """Access tokens of people who work here, the last of them for who writes."""
    found = []
    for _ in range(USERS + 1):
        name = secrets.token_hex(6)
        body = {"email": f"{name}@example.com", "name": name, "password": secrets.token_urlsafe(16)}
        answer = _post(credentials, "/api/users", body, {"Authorization": f"Bearer {token}"})
        assert answer.status_code == 201, answer.text
        answer = _post(credentials, "/api/auth/login", {"email": body["email"], "password": body["password"]})
        assert answer.status_code == 200, answer.text
        found.append(answer.json()["access_token"])
    return found


def _post(credentials: dict[str, str], path: str, body: dict[str, Any], headers: Any = None) -> requests.Response:
    url = credentials["url"] + path
    return requests.post(url, json=body, headers=headers, verify=credentials["ca"], timeout=30)


@pytest.fixture
def clients(tmp_path: Path) -> Iterator[NodeClients]:
    found = NodeClients(tmp_path)
    yield found
    found.stop()


def heard(client: NodeClient) -> list[int]:
    return [arguments[0]["id"] for arguments in client.events("task.created")]


@pytest.mark.timeout(300)
def test_a_rolling_restart_costs_no_open_page_anything(
    hecto: Hecto, credentials: dict[str, str], tokens: list[str], clients: NodeClients
) -> None:
    pages = [
        clients.connect(credentials["url"], tokens[number % USERS], reconnection=True) for number in range(CLIENTS)
    ]
    for page in pages:
        page.wait_for("connect", seconds=30)
    with Writer(credentials, tokens[-1]) as writer:
        done = hecto("restart")
        assert done.returncode == 0, done.stdout + done.stderr
        time.sleep(1)
    assert writer.refused == []
    assert len(writer.created) > 20
    for page in pages:
        wait_until(lambda page=page: len(heard(page)) >= len(writer.created), f"all events at {page.name}", seconds=20)
    # Everybody hears the same, in the same order.
    order = heard(pages[0])
    assert sorted(order) == sorted(writer.created)
    assert [page.name for page in pages if heard(page) != order] == []
    moved = [connection for page in pages for connection in page.all("connect")[1:]]
    assert len(moved) >= CLIENTS
    assert [connection for connection in moved if not connection["recovered"]] == []
