"""Long polling and WebSockets through both layers: a session's requests find its instance."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Iterator

import pytest

from hecto.settings import host_tag
from tests.integration.edge.cluster import APP_HOSTS, EDGES, PUBLIC_NAME, Cluster, Person, trusting
from tests.integration.peer import ACCEPTED, HANDSHAKE
from tests.unit.realtime.frames import masked

POLL = "/socket.io/?EIO=4&transport=polling"


def opened(person: Person) -> str:
    """The id of a new session."""
    answer = person.get(POLL)
    assert answer.status_code == 200, answer.text
    return re.search(r'"sid":"([^"]+)"', answer.text)[1]


def greeting(token: str) -> str:
    """The packet by which Socket.IO begins."""
    return "40" + json.dumps({"token": token.removeprefix("Bearer ")})


def connect(person: Person, sid: str, token: str) -> list[str]:
    """Connect to Socket.IO by polling; what each request was answered."""
    said = person.post(f"{POLL}&sid={sid}", data=greeting(token))
    heard = person.get(f"{POLL}&sid={sid}")
    return [said.text, heard.text[:2]]


def test_a_session_by_polling_finds_its_instance(cluster, person, token):
    sids = [opened(person) for _ in range(24)]
    places = {sid.partition(".")[0] for sid in sids}
    assert places <= {f"{host_tag(name)}-{number}" for name in APP_HOSTS for number in (1, 2)}
    assert {place.partition("-")[0] for place in places} == {host_tag(name) for name in APP_HOSTS}
    assert [connect(person, sid, token) for sid in sids] == [["OK", "40"]] * len(sids)


def test_the_other_edge_finds_it_as_well(cluster, person, token):
    other = cluster.person(token)
    other.base = f"https://{EDGES['lb2']}:{cluster.port}"
    assert [connect(other, opened(person), token) for _ in range(12)] == [["OK", "40"]] * 12


def test_a_session_whose_host_is_gone_begins_anew(cluster, person, token):
    host = cluster.hosts[0]
    sids = [opened(person) for _ in range(12)]
    host.kill()
    try:
        answers = {sid: person.get(f"{POLL}&sid={sid}", timeout=40) if is_lost(sid) else None for sid in sids}
        lost = [answer for answer in answers.values() if answer is not None]
        assert lost
        # Another instance says that it does not know the session: the client begins a new one.
        assert {answer.status_code for answer in lost} == {400}
        assert all("Invalid session" in answer.text for answer in lost)
        assert [connect(person, sid, token) for sid in sids if not is_lost(sid)]
    finally:
        host.come_back()


def is_lost(sid: str) -> bool:
    return sid.startswith(host_tag("app1"))


@pytest.mark.parametrize("sid", ["1.abcdefghijklmnopqrst", "zzzzzz-1.abc", f"{host_tag('app1')}-77.abc", "", "%00"])
def test_a_session_that_nobody_has_is_refused_as_such(person, sid):
    answer = person.get(f"{POLL}&sid={sid}")
    assert answer.status_code in (200, 400), "an answer of an instance"


@pytest.fixture
def socket_to_edge(cluster: Cluster) -> Iterator[socket.socket]:
    plain = socket.create_connection((EDGES["lb1"], cluster.port), 20)
    with plain, trusting().wrap_socket(plain, server_hostname=PUBLIC_NAME) as connection:
        yield connection


def test_a_websocket_passes_both_layers(cluster, socket_to_edge, token):
    path = "/socket.io/?EIO=4&transport=websocket"
    request = HANDSHAKE.format(path=path, host=f"{PUBLIC_NAME}:{cluster.port}", more="")
    socket_to_edge.sendall(request.encode())
    heard = b""
    while b'"sid"' not in heard:
        heard += socket_to_edge.recv(4096)
    assert heard.startswith(b"HTTP/1.1 101 ")
    assert ACCEPTED.encode() in heard
    socket_to_edge.sendall(masked(1, greeting(token).encode()))
    heard = socket_to_edge.recv(4096)
    assert heard[2:4] == b"40", heard
