"""Talks to the control socket of an instance: one short HTTP request, never a long wait."""

import http.client
import json
import socket
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

# An idle instance answers within 2 ms. A second is long enough for a starved one and short enough for a person.
TIMEOUT = 1.0
# A check runs every page once, on busy cores and for the first time in this process.
CHECK_TIMEOUT = 20.0

Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Reply:
    """What an instance says about itself."""

    state: str
    release: str
    uptime: float
    in_flight: int
    websockets: int
    pid: int
    requests: int
    errors: int


class ControlError(Exception):
    """The instance gave no usable answer."""


class SilentError(ControlError):
    """The instance is there and gave no answer in time."""


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


def ask(path: Path, action: str = "status", timeout: float = TIMEOUT) -> Reply:
    """Send `status`, `drain` or `resume` to one instance."""
    status, body = _request(path, "GET" if action == "status" else "POST", action, timeout)
    if status != 200:
        raise ControlError(f"answered {status} to {action}")
    try:
        return parse(body)
    except (ValueError, TypeError, KeyError) as error:
        raise ControlError(f"unusable answer ({type(error).__name__}: {error})") from error


def check(path: Path, timeout: float = CHECK_TIMEOUT) -> list[str]:
    """Have one instance try itself whether its release works here; returns what does not."""
    status, body = _request(path, "GET", "check", timeout)
    # A release from before there was a check: that it is ready has to do.
    if status in (200, 404):
        return []
    failed = body.get("failed") if isinstance(body, dict) else None
    return [str(one) for one in failed] if isinstance(failed, list) and failed else [f"answered {status}"]


def ask_all(
    paths: Mapping[int, Path], action: str = "status", timeout: float = TIMEOUT
) -> dict[int, Reply | ControlError]:
    """Ask many instances at once: a hung one costs its own timeout, not everybody's."""
    return _all(paths, lambda path: ask(path, action, timeout))


def check_all(paths: Mapping[int, Path], timeout: float = CHECK_TIMEOUT) -> dict[int, list[str] | ControlError]:
    """Have many instances check themselves at once."""
    return _all(paths, lambda path: check(path, timeout))


def _all(paths: Mapping[int, Path], does: Callable[[Path], Answer]) -> dict[int, Answer | ControlError]:
    def one(path: Path) -> Answer | ControlError:
        try:
            return does(path)
        except ControlError as error:
            return error

    if len(paths) <= 1:
        # Polled many times a second while one instance moves: a thread would cost more than the question.
        return {number: one(path) for number, path in paths.items()}
    with ThreadPoolExecutor(max_workers=min(len(paths), 128)) as pool:
        return dict(zip(paths, pool.map(one, paths.values()), strict=True))


def _request(path: Path, method: str, action: str, timeout: float) -> tuple[int, Any]:
    connection = _UnixConnection(path, timeout)
    try:
        connection.request(method, f"/control/{action}")
        response = connection.getresponse()
        body = response.read(1_000_000)
        # Who knows no such action may say so in any form.
        return response.status, None if response.status == 404 else json.loads(body)
    except TimeoutError:
        raise SilentError(f"no answer within {timeout:g} s") from None
    except (FileNotFoundError, ConnectionRefusedError):
        raise ControlError("does not listen") from None
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise ControlError(f"unusable answer ({type(error).__name__}: {error})") from error
    finally:
        connection.close()


def parse(body: dict[str, Any]) -> Reply:
    """Read what an instance says; raises ValueError, TypeError or KeyError for what is nothing of the kind."""
    return Reply(
        state=str(body["state"]),
        release=str(body["release"]),
        uptime=float(body["uptime"]),
        in_flight=int(body["in_flight"]),
        websockets=int(body["websockets"]),
        pid=int(body["pid"]),
        # Releases from before these were counted do not say them.
        requests=int(body.get("requests", 0)),
        errors=int(body.get("errors", 0)),
    )
