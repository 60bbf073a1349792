"""What connections cost an instance while they are there, and that nothing of them stays; how a drain ends them."""

from __future__ import annotations

import itertools
import json
import selectors
import socket
import struct
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

from tests.integration.conftest import Client
from tests.integration.peer import Peer
from tests.integration.test_transport import held, next_packet, signed_in
from tests.servers import REPOSITORY, AppInstance, Site, ask, wait_until

# Greenlets and files of the first of something: connections to PostgreSQL and Redis, a request that is under way.
SLACK = 6
# Of resident memory that one round may add: the allocator keeps some pieces; 300 sockets that stay are 10 MB and more.
GROWTH = 3_000_000
ROUND = 300


@pytest.fixture(scope="module")
def echo(site: Site, admin: Client) -> Iterator[AppInstance]:
    environment = {
        "PYTHONPATH": f"{REPOSITORY / 'app'}:{REPOSITORY}",
        "ECHO_PING": "20",
        "HECTO_REQUESTS_PER_MINUTE": "100000",
    }
    found = AppInstance(site, app="tests.integration.echo:app", **environment)
    token = str(admin.headers["Authorization"])[7:]
    with ThreadPoolExecutor(20) as many:
        for peer in many.map(lambda _: signed_in(found, token), range(20)):
            peer.close()
    wait_until(lambda: held(found)["sessions"] == 0, "the end of the first clients", seconds=10)
    yield found
    found.stop()
    log = found.log.read_text()
    assert "Traceback" not in log, log[log.index("Traceback") - 500 :][:6000]


@pytest.fixture
def token(member: Client) -> str:
    return str(member.headers["Authorization"])[7:]


def kept(echo: AppInstance) -> dict:
    return requests.get(f"{echo.url}/kept", timeout=10).json()


def test_a_websocket_costs_one_greenlet_and_one_file(echo, token):
    before, count = held(echo), 50
    peers = [signed_in(echo, token) for _ in range(count)]
    during = held(echo)
    more = {name: during[name] - before[name] for name in during}
    assert more["sessions"] == count
    # Fewer than one each cannot read.
    assert count <= more["greenlets"] <= count + SLACK
    assert count <= more["files"] <= count + SLACK
    for peer in peers:
        peer.close()
    wait_until(lambda: held(echo)["greenlets"] <= before["greenlets"] + SLACK, "the greenlets to end", seconds=10)


def close(peer: Peer) -> None:
    peer.close()


def reset(peer: Peer) -> None:
    """End without a word of TCP's either."""
    peer.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    peer.close()


def say_farewell(peer: Peer) -> None:
    peer.text("41")
    peer.text("1")
    peer.listen()
    peer.close()


WAYS = (close, reset, say_farewell)


# What has something in it while somebody is there.
FILLED = ("sessions", "members", "heard", "present", "connections", "environments", "library rooms")


def come_to_stay(echo: AppInstance, token: str, room: str) -> Peer:
    """Connect, and join a room."""
    peer = signed_in(echo, token)
    peer.text("421" + json.dumps(["join", room]))
    while not (packet := next_packet(peer)).startswith("431"):
        continue
    assert room in packet, packet
    return peer


def come_and_go(echo: AppInstance, token: str, number: int, room: str) -> None:
    """Be there for a moment, and go in one of several ways."""
    WAYS[number % len(WAYS)](come_to_stay(echo, token, room))


def play_a_round(echo: AppInstance, token: str, rooms: list[str]) -> None:
    with ThreadPoolExecutor(10) as many:
        places = zip(range(ROUND), itertools.cycle(rooms), strict=False)
        list(many.map(lambda place: come_and_go(echo, token, *place), places))


@pytest.mark.timeout(240)
def test_hundreds_who_came_and_went_leave_nothing(echo, member, token):
    rooms = [f"task:{member.create_task()['id']}" for _ in range(30)]
    there = come_to_stay(echo, token, rooms[0])
    filled = kept(echo)["tables"]
    assert all(filled[name] for name in FILLED), filled
    close(there)
    empty = dict.fromkeys(filled, 0) | {"heard": 1}
    sizes = []
    for _ in range(3):
        play_a_round(echo, token, rooms)
        # What is heard beyond the last who was there is forgotten after one or two times half a second.
        wait_until(lambda: kept(echo)["tables"] == empty, f"{empty}", seconds=10)
        sizes.append(kept(echo)["resident"])
    growth = [later - earlier for earlier, later in itertools.pairwise(sizes)]
    # The first round is the warm-up.
    assert growth[-1] < GROWTH, growth


@pytest.fixture
def draining(echo: AppInstance) -> Iterator[AppInstance]:
    yield echo
    ask(echo.control, "POST", "/control/resume")


def ends(peers: list[Peer]) -> list[float]:
    """When each hears that its connection ends, in order."""
    found: list[float] = []
    with selectors.DefaultSelector() as selector:
        for peer in peers:
            selector.register(peer.socket, selectors.EVENT_READ, peer)
        while selector.get_map():
            ready = selector.select(5)
            assert ready, f"{len(selector.get_map())} connections do not end"
            for key, _ in ready:
                if key.data.frame()[0] == 8:
                    found.append(time.monotonic())
                    selector.unregister(key.fileobj)
    return found


def test_a_drain_ends_connections_in_waves(draining, token):
    peers = [signed_in(draining, token) for _ in range(50)]
    time.sleep(0.5)
    began = time.monotonic()
    ask(draining.control, "POST", "/control/drain")
    times = ends(peers)
    assert len(times) == len(peers)
    assert 0.5 < times[-1] - times[0] < 1.5, times
    assert times[-1] - began < 2
    # No wave is more than a part of them: a tenth of a second never holds a third.
    crowded = max(sum(at <= other < at + 0.05 for other in times) for at in times)
    assert crowded <= len(peers) / 3, times
    for peer in peers:
        peer.close()
