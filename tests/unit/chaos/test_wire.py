"""The client's HTTP: whole answers only, one connection for many requests, and nothing is ever sent twice."""

from __future__ import annotations

import contextlib
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import gevent
import pytest
from gevent import ssl
from gevent.server import StreamServer

from tests.chaos import wire
from tests.chaos.wire import Answer, Connection, NoAnswer, trusting

WHOLE = b"HTTP/1.1 201 Created\r\nContent-Length: 5\r\nIdempotency-Replayed: true\r\n\r\nhello"


class Server:
    """Answers each request on a connection with the next of its answers, then closes it."""

    def __init__(self, certificate: Path, key: Path) -> None:
        self.answers: list[bytes] = []
        self.connections = self.requests = 0
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        self._server = StreamServer(("127.0.0.1", 0), self._serve, ssl_context=context)
        self._server.start()
        self.port: int = self._server.server_port

    def _serve(self, connection: ssl.SSLSocket, _: tuple[str, int]) -> None:
        self.connections += 1
        with contextlib.suppress(OSError):
            is_last = not self.answers
            while not is_last and connection.recv(65_536):
                self.requests += 1
                parts = self.answers.pop(0).split(b"|")
                # Decided before the client has its answer: what a test adds after that is for the next connection.
                is_last = not self.answers or parts == [b""]
                for part in parts:
                    connection.sendall(part)
                    gevent.sleep(0.01)
        connection.close()

    def stop(self) -> None:
        self._server.stop()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tls")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "1",
         "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1",
         "-keyout", path / "key", "-out", path / "certificate"],
        check=True, capture_output=True,
    )  # fmt: skip
    return path / "certificate"


@pytest.fixture
def server(certificate: Path) -> Iterator[Server]:
    made = Server(certificate, certificate.with_name("key"))
    yield made
    made.stop()


@pytest.fixture
def connection(server: Server, certificate: Path) -> Iterator[Connection]:
    made = Connection("127.0.0.1", server.port, trusting(str(certificate)))
    yield made
    made.close()


def test_one_connection_for_many(server: Server, connection: Connection) -> None:
    server.answers = [WHOLE, b"HTTP/1.1 204 No Content\r\n\r\n", WHOLE.replace(b"\r\n\r\nhello", b"\r\n\r\n|hel|lo")]
    answers = [connection.request(b"GET / HTTP/1.1\r\n\r\n", repeatable=True) for _ in range(3)]
    assert [(answer.status, answer.body) for answer in answers] == [(201, b"hello"), (204, b""), (201, b"hello")]
    assert answers[0].says(b"idempotency-replayed: true")
    assert not answers[1].says(b"idempotency-replayed: true")
    assert (server.connections, server.requests) == (1, 3)


@pytest.mark.parametrize(
    "broken",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Le",
        WHOLE[:-2],
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"x\r\n\r\n",
    ],
)
def test_what_is_not_whole_is_no_answer_and_not_repeated(server: Server, connection: Connection, broken: bytes) -> None:
    server.answers = [broken]
    with pytest.raises(NoAnswer):
        connection.request(b"POST / HTTP/1.1\r\n\r\n")
    assert server.requests == 1


def test_a_connection_that_was_closed_meanwhile_is_opened_anew(server: Server, connection: Connection) -> None:
    server.answers = [WHOLE]
    connection.request(b"GET / HTTP/1.1\r\n\r\n", repeatable=True)
    server.answers = [WHOLE]
    gevent.sleep(0.1)
    assert connection.request(b"GET / HTTP/1.1\r\n\r\n", repeatable=True).status == 201
    assert (server.connections, server.requests) == (2, 2)


def test_what_may_be_repeated_goes_over_another_connection_when_one_from_before_is_closed(
    server: Server, connection: Connection
) -> None:
    server.answers = [WHOLE, b"", WHOLE]
    answers = [connection.request(b"GET / HTTP/1.1\r\n\r\n", repeatable=True) for _ in range(2)]
    assert [answer.status for answer in answers] == [201, 201]
    assert (server.connections, server.requests, connection.reopened) == (2, 3, 1)


def test_what_may_not_be_repeated_has_a_connection_of_its_own(server: Server, connection: Connection) -> None:
    server.answers = [WHOLE, WHOLE, b"", WHOLE]
    for _ in range(2):
        connection.request(b"POST / HTTP/1.1\r\n\r\n")
    with pytest.raises(NoAnswer):
        connection.request(b"POST / HTTP/1.1\r\n\r\n")
    assert (server.connections, server.requests, connection.reopened) == (3, 3, 0)


def test_an_answer_that_has_begun_is_not_asked_for_again(server: Server, connection: Connection) -> None:
    server.answers = [WHOLE, WHOLE[:-2]]
    connection.request(b"GET / HTTP/1.1\r\n\r\n", repeatable=True)
    with pytest.raises(NoAnswer):
        connection.request(b"GET / HTTP/1.1\r\n\r\n", repeatable=True)
    assert server.requests == 2


def test_silence_ends(server: Server, connection: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "TIMEOUT", 0.2)
    server.answers = [b"|" * 100]
    with pytest.raises(NoAnswer, match="nothing within"):
        connection.request(b"GET / HTTP/1.1\r\n\r\n", repeatable=True)


def test_a_client_that_waits_does_not_stop_the_others(
    server: Server, connection: Connection, certificate: Path
) -> None:
    server.answers = [b"|" * 100 + WHOLE, WHOLE]
    slow = gevent.spawn(connection.request, b"GET / HTTP/1.1\r\n\r\n")
    gevent.sleep(0.1)
    other = Connection("127.0.0.1", server.port, trusting(str(certificate)))
    quick = gevent.spawn(other.request, b"GET / HTTP/1.1\r\n\r\n")
    found: Answer = quick.get(timeout=2)
    assert found.status == 201
    assert not slow.ready()
    assert slow.get(timeout=20).status == 201
    other.close()


def test_nobody_listens() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with pytest.raises(NoAnswer, match="refused"):
        Connection("127.0.0.1", port, ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)).request(b"GET / HTTP/1.1\r\n\r\n")
