"""What becomes of requests, sessions and events when the master of Redis fails or is changed: three hosts, for real.

HTTP goes on, and nobody is signed out. Whoever is connected hears everything once and in order, or is told, after the
last that is missing, to look at everything anew.
"""

from __future__ import annotations

import itertools
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from tests.integration.conftest import Client
from tests.integration.recovery.clients import NodeClient
from tests.integration.recovery.fleet import Fleet
from tests.integration.recovery.load import Pump, verdict
from tests.redis_cluster import Cluster, Host
from tests.servers import Postgres, Site, wait_until

# HAProxy gives up on a server after two looks of 1.5 s, and 2.5 s later on the connections to it.
SECONDS_TO_NOTICE = 8.0


@pytest.fixture(scope="module")
def cluster(directory: Path) -> Iterator[Cluster]:
    found = Cluster(directory / "redis-cluster")
    yield found
    found.stop()


@pytest.fixture(scope="module")
def fleet(directory: Path, postgres: Postgres, cluster: Cluster) -> Iterator[Fleet]:
    site = Site(directory, postgres, cluster, "failover")
    site.setup()
    found = Fleet(site)
    yield found
    found.stop()


@pytest.fixture(autouse=True)
def whole(cluster: Cluster) -> None:
    cluster.wait_until_whole()


class Worker:
    """Somebody who makes tasks all the time, at both instances in turn, and gets an answer each time."""

    def __init__(self, fleet: Fleet, member: Client) -> None:
        self._clients = itertools.cycle([member.at(instance) for instance in fleet.instances])
        # Of each task: when it was asked for.
        self.made: dict[int, float] = {}
        self.refused: list[str] = []
        self.longest = 0.0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Worker:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join(30)

    def _run(self) -> None:
        for client in self._clients:
            if self._over.wait(0.1):
                return
            began = time.monotonic()
            answer = client.post("/api/tasks", json={"title": "made all the same"})
            self.longest = max(self.longest, time.monotonic() - began)
            if answer.status_code == 201:
                self.made[answer.json()["id"]] = began
            else:
                self.refused.append(f"{answer.status_code} {answer.text}")


def told_at(client: NodeClient) -> float:
    """When a client was told last that something may have passed it by."""
    told = [
        came
        for came, report in zip(client.times, client.reports, strict=False)
        if (report["what"] == "event" and report["event"] == "missed")
        or (report["what"] == "connect" and not report["recovered"])
    ]
    return max(told)


def kill(host: Host, cluster: Cluster) -> None:
    host.redis.kill()


def stop(host: Host, cluster: Cluster) -> None:
    host.redis.signal(signal.SIGSTOP)


def leave_alone(host: Host, cluster: Cluster) -> None:
    """Nobody reaches it any more but those who use it."""
    host.way.signal(signal.SIGSTOP)


def change(host: Host, cluster: Cluster) -> None:
    assert host.ask_sentinel("SENTINEL", "FAILOVER", "hecto").strip() == "OK"


def heal(host: Host) -> None:
    host.way.signal(signal.SIGCONT)
    if host.redis.process.poll() is None:
        host.redis.signal(signal.SIGCONT)
    else:
        host.redis.start()


@pytest.mark.parametrize("fault", [kill, stop, leave_alone, change])
def test_a_failover(
    cluster: Cluster,
    fleet: Fleet,
    connect: Callable[..., NodeClient],
    member: Client,
    room: str,
    fault: Callable[[Host, Cluster], None],
    record_property: Callable[[str, object], None],
) -> None:
    here, there, away = connect(reconnection=True), connect(at=1, reconnection=True), connect()
    old = cluster.master
    with Worker(fleet, member) as worker, Pump(fleet, room, rate=20) as pump:
        pump.go_on(20)
        away.leave()
        fault(old, cluster)
        wait_until(lambda: cluster.master is not old, "another master", seconds=40)
        wait_until(cluster.answers, "the way to it", seconds=40)
        pump.go_on(20, seconds=40)
        gap = max(later - earlier for earlier, later in itertools.pairwise(sorted(pump.began.values())))
        away.come_back(fleet.urls[1])
        heal(old)
        pump.go_on(20, seconds=40)
        cluster.wait_until_whole()
        wait_until(lambda: is_well(fleet), "both instances", seconds=30)
        pump.go_on(20, seconds=40)
    record_property("seconds", round(gap, 1))
    assert cluster.master is not old
    assert not worker.refused
    assert member.get("/api/me").status_code == 200
    for client in (here, there):
        pump.heard_by(client)
        found = verdict(pump.sent, client.heard())
        last = max((pump.began[number] for number in found.lost), default=0)
        assert last <= told_at(client), found
        assert set(found.repeated) <= pump.uncertain
        assert not found.reordered, found
        heard = {arguments[0]["id"] for arguments in client.events("task.created")}
        lost = [began for task, began in worker.made.items() if task not in heard]
        assert max(lost, default=0) <= told_at(client)
    pump.heard_by(away)
    missing = verdict(pump.sent, away.heard()).lost
    assert max((pump.began[number] for number in missing), default=0) <= told_at(away)


def test_whoever_is_on_the_way_to_a_master_that_stands_still_hears_of_it(cluster: Cluster) -> None:
    """And whoever is there already: no connection, new or old, may keep its client waiting for ever."""
    master = cluster.master
    with ThreadPoolExecutor(80) as threads:
        there = connection(cluster)
        there.sendall(b"PING\r\n")
        assert there.recv(100)
        stop(master, cluster)
        try:
            waits = [threads.submit(seconds_until_answer, there)]
            while cluster.master is master or len(waits) < 60:
                waits.append(threads.submit(seconds_until_answer, connection(cluster)))
                time.sleep(0.1)
            assert max(wait.result() for wait in waits) < SECONDS_TO_NOTICE
        finally:
            heal(master)


def connection(cluster: Cluster) -> socket.socket:
    """A connection by the way to the master."""
    line = socket.socket(socket.AF_UNIX)
    line.connect(str(cluster.socket))
    line.settimeout(4 * SECONDS_TO_NOTICE)
    return line


def seconds_until_answer(line: socket.socket) -> float:
    """How long it takes until a question is answered, or the connection ends."""
    began = time.monotonic()
    with line, suppress(BrokenPipeError, ConnectionResetError):
        line.sendall(b"PING\r\n")
        line.recv(1)
    return time.monotonic() - began


def is_well(fleet: Fleet) -> bool:
    return all(fleet.admin.get(f"{url}/api/health").json()["status"] == "OK" for url in fleet.urls)
