"""Scaling from 4 to 12 instances and back while people work: nobody may notice."""

from __future__ import annotations

import secrets
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import requests

from tests.host.conftest import Hecto

CLIENTS = 4
PAUSE = 0.8  # three requests a round and client: 15 a second, below the 20 that one user has


@dataclass
class Load:
    """Clients that read and write all the time and keep what they saw."""

    credentials: dict[str, str]
    token: str
    problems: list[str] = field(default_factory=list)
    created: list[str] = field(default_factory=list)
    instances: Counter[str] = field(default_factory=Counter)
    stopped: threading.Event = field(default_factory=threading.Event)
    threads: list[threading.Thread] = field(default_factory=list)

    def start(self) -> None:
        self.threads = [threading.Thread(target=self._work, daemon=True) for _ in range(CLIENTS)]
        for thread in self.threads:
            thread.start()

    def stop(self) -> None:
        self.stopped.set()
        for thread in self.threads:
            thread.join(60)

    def client(self) -> requests.Session:
        client = requests.Session()
        client.trust_env = False  # a CA bundle or a proxy of this machine would win over what follows
        client.verify = self.credentials["ca"]
        client.headers["Authorization"] = f"Bearer {self.token}"
        return client

    def _work(self) -> None:
        client, url = self.client(), self.credentials["url"]
        while not self.stopped.wait(PAUSE):
            title = f"Move pallet {secrets.token_hex(8)}"
            try:
                health = client.get(f"{url}/api/health", timeout=30)
                self._expect(health, 200)
                self.instances[health.json()["instance"]] += 1
                self._expect(client.post(f"{url}/api/tasks", json={"title": title}, timeout=30), 201)
                self.created.append(title)
                self._expect(client.get(f"{url}/api/tasks?limit=5", timeout=30), 200)
            except Exception as error:  # whatever a client meets is what the test is about
                self.problems.append(f"{time.strftime('%T')} {type(error).__name__}: {error}")

    def _expect(self, answer: requests.Response, status: int) -> None:
        if answer.status_code != status:
            self.problems.append(
                f"{time.strftime('%T')} {answer.request.method} {answer.url}: {answer.status_code} {answer.text[:200]}"
            )


@pytest.fixture
def load(credentials: dict[str, str], token: str) -> Iterator[Load]:
    found = Load(credentials, token)
    found.start()
    yield found
    found.stop()


@pytest.mark.timeout(600)
def test_scaling_is_not_noticed(load: Load, hecto: Hecto, fleet: Callable[[], dict[str, Any]]) -> None:
    before = {instance["name"]: instance["pid"] for instance in fleet()["instances"]}
    for count in (12, 4):
        done = hecto("up", "--instances", str(count))
        assert done.returncode == 0, done.stderr
        now = fleet()
        assert now["ready"]
        assert len(now["instances"]) == count
        load.instances.clear()
        time.sleep(5)
        assert set(load.instances) <= {f"instance-{number}" for number in range(1, count + 1)}
    load.stop()
    assert load.problems == []
    assert len(load.created) > 100
    assert {instance["name"]: instance["pid"] for instance in now["instances"]} == before, "an instance was restarted"
    _expect_each_once(load)


def _expect_each_once(load: Load) -> None:
    """Every write that was answered is there, and none twice."""
    client, seen, after = load.client(), Counter[str](), None
    while True:
        answer = client.get(
            f"{load.credentials['url']}/api/tasks",
            params={"limit": 100, **({"after": after} if after else {})},
            timeout=30,
        ).json()
        seen.update(item["title"] for item in answer["items"])
        after = answer["next"]
        if not after:
            break
        time.sleep(0.1)
    assert {title: seen[title] for title in load.created} == dict.fromkeys(load.created, 1)
