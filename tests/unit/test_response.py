"""An answer is one send, whatever its form, and the bytes are those that gunicorn itself would send."""

from __future__ import annotations

import re
from types import SimpleNamespace

import gunicorn.http.wsgi
import pytest

from hecto.response import OnePieceResponse, _plain


class Socket:
    """Keeps each send apart."""

    def __init__(self) -> None:
        self.sends: list[bytes] = []

    def sendall(self, data: bytes) -> None:
        self.sends.append(data)


def answer(kind, parts, headers, method="GET", status="200 OK"):
    request = SimpleNamespace(version=(1, 1), method=method, should_close=lambda: True)
    sock = Socket()
    response = kind(request, sock, SimpleNamespace(is_ssl=False, sendfile=None))
    response.start_response(status, headers)
    for part in parts:
        response.write(part)
    response.close()
    return sock.sends


CASES = [
    ([b"hello"], [("Content-Length", "5")], "GET", "200 OK", 1),
    ([b""], [("Content-Length", "0")], "GET", "200 OK", 1),
    ([], [("Content-Length", "0")], "GET", "200 OK", 1),
    ([b"too long"], [("Content-Length", "3")], "GET", "200 OK", 1),
    ([b"hello"], [], "GET", "200 OK", 2),
    ([b"a", b"b"], [("Content-Length", "2")], "GET", "200 OK", 2),
    ([], [], "GET", "200 OK", 1),
    ([b"x"], [("Content-Length", "1")], "HEAD", "200 OK", 1),
    ([], [], "POST", "204 No Content", 1),
]


@pytest.mark.parametrize(("parts", "headers", "method", "status", "sends"), CASES)
def test_one_piece(parts, headers, method, status, sends):
    ours = answer(OnePieceResponse, parts, headers, method, status)
    theirs = answer(_plain, parts, headers, method, status)
    assert undated(b"".join(ours)) == undated(b"".join(theirs))
    assert len([data for data in ours if data]) == sends
    assert b"\r\n\r\n" in ours[0]


def undated(data: bytes) -> bytes:
    return re.sub(rb"Date: [^\r]*", b"Date:", data)


def test_gunicorn_uses_it():
    import hecto.response

    hecto.response.install()
    assert gunicorn.http.wsgi.Response is OnePieceResponse
