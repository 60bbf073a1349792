"""A host is lost under load: no request fails, and no write is done twice."""

from __future__ import annotations

import itertools
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator

import pytest

from tests.integration.edge.cluster import PATIENCE, AppHost, Cluster
from tests.servers import Site, wait_until

WRITERS = 6


class Load:
    """People who write without a pause, and what they were answered."""

    def __init__(self, cluster: Cluster, token: str, name: str) -> None:
        self.name = name
        self.written: list[str] = []
        self.failed: list[str] = []
        self.slowest = 0.0
        self._numbers = itertools.count()
        self._cluster, self._token = cluster, token
        self._ends = threading.Event()
        self._threads = [threading.Thread(target=self._write) for _ in range(WRITERS)]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ends.set()
        for thread in self._threads:
            thread.join(60)

    def go_on(self, count: int, seconds: float = 60) -> None:
        """Wait for so many more answers."""
        enough = len(self.written) + count
        wait_until(lambda: len(self.written) + len(self.failed) >= enough, f"{count} more answers", seconds=seconds)

    def _write(self) -> None:
        person = self._cluster.person(self._token)
        while not self._ends.is_set():
            title = f"{self.name} {next(self._numbers)}"
            begun = time.monotonic()
            try:
                answer = person.post("/api/tasks", json={"title": title}, timeout=60)
            except OSError as error:
                self.failed.append(f"{title}: {error}")
                continue
            self.slowest = max(self.slowest, time.monotonic() - begun)
            (self.written if answer.status_code == 201 else self.failed).append(title)


def judge(load: Load, site: Site) -> None:
    """Everything that was answered is there, once, and nothing else is."""
    assert not load.failed, load.failed[:3]
    found = site.postgres.sql(site.database, f"SELECT title FROM task WHERE title LIKE '{load.name} %'").splitlines()
    assert Counter(found) == Counter(load.written)


@pytest.fixture
def host(cluster: Cluster) -> Iterator[AppHost]:
    """One of the two, which may be lost."""
    return cluster.hosts[0]


def test_requests_go_to_both_hosts_and_say_which(person):
    assert person.served_by() == {"app1", "app2"}


def test_a_host_dies(cluster, token, site, host, person):
    with Load(cluster, token, "dies") as load:
        load.go_on(100)
        host.kill()
        load.go_on(200)
        assert person.served_by() == {"app2"}
        host.come_back()
        load.go_on(200)
    judge(load, site)
    wait_until(lambda: person.served_by() == {"app1", "app2"}, "both hosts again", seconds=10)


def test_a_host_falls_silent(cluster, token, site, host, person):
    with Load(cluster, token, "silent") as load:
        load.go_on(100)
        host.freeze()
        try:
            load.go_on(100)
        finally:
            time.sleep(10 + PATIENCE + 3)
            host.freeze(signal.SIGCONT)
        load.go_on(100)
    judge(load, site)
    # What was under way there waits for as long as nginx there could have taken, and not for longer.
    assert load.slowest < 10 + PATIENCE + 1 + 5
    wait_until(lambda: person.served_by() == {"app1", "app2"}, "both hosts again", seconds=10)


def test_a_host_drains(cluster, token, site, host, person):
    with Load(cluster, token, "drains") as load:
        load.go_on(100)
        host.drain()
        load.go_on(200)
        assert person.served_by() == {"app2"}
        host.resume()
        load.go_on(200)
    judge(load, site)


def test_nginx_of_a_host_takes_over_another_configuration(cluster, token, site, host):
    with Load(cluster, token, "reloads") as load:
        for _ in range(5):
            load.go_on(60)
            host.nginx.reload()
        load.go_on(60)
    judge(load, site)


def test_when_no_host_takes_requests_that_is_said_and_passes(cluster, person):
    for host in cluster.hosts:
        host.drain()
    try:
        answer = person.post("/api/tasks", json={"title": "nobody"})
        assert (answer.status_code, answer.headers["Content-Type"]) == (503, "application/problem+json")
        assert "Retry-After" in answer.headers
    finally:
        for host in cluster.hosts:
            host.resume()
    assert person.get("/api/me").status_code == 200


def test_a_slow_request_runs_no_more_often_than_on_one_host(cluster, person, site):
    begun = time.monotonic()
    assert person.post("/slow").status_code == 504
    assert 2 * PATIENCE <= time.monotonic() - begun < 2 * PATIENCE + 3
    keys = (site.directory / "slow").read_text().split()
    assert len(keys) == 2, "two instances of one host, and no other host"
    assert len(set(keys)) == 1
