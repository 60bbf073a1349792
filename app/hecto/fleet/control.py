"""Talks to the control socket of an instance: one short HTTP request, never a long wait."""

import http.client
import json
import socket
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# An idle instance answers within 2 ms. A second is long enough for a starved one and short enough for a person.
TIMEOUT = 1.0
# A check renders every page once; on two busy cores, the first time after a start, that takes some seconds.
CHECK_TIMEOUT = 20.0


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
        return _parse(body)
    except (ValueError, TypeError, KeyError) as error:
        raise ControlError(f"unusable answer ({type(error).__name__}: {error})") from error


def check(path: Path, timeout: float = CHECK_TIMEOUT) -> str | None:
    """Have one instance look whether its release works here; returns what does not."""
    try:
        status, body = _request(path, "GET", "check", timeout)
    except ControlError as error:
        return f"could not be checked: {error}"
    # A release from before there was a check: that it is ready has to do.
    if status in (200, 404):
        return None
    found = body.get("failed") if isinstance(body, dict) else None
    return "does not work here: " + "; ".join(map(str, found or [f"its check answered {status}"]))


def check_all(paths: dict[int, Path], timeout: float = CHECK_TIMEOUT) -> dict[int, str]:
    """Check many instances at once; returns those that do not work."""
    if not paths:
        return {}
    with ThreadPoolExecutor(max_workers=min(len(paths), 128)) as pool:
        found = zip(paths, pool.map(lambda number: check(paths[number], timeout), paths), strict=True)
        return {number: trouble for number, trouble in found if trouble}


def _request(path: Path, method: str, action: str, timeout: float) -> tuple[int, Any]:
    connection = _UnixConnection(path, timeout)
    try:
        connection.request(method, f"/control/{action}")
        response = connection.getresponse()
        return response.status, json.loads(response.read(1_000_000))
    except TimeoutError:
        raise ControlError(f"no answer within {timeout:g} s") from None
    except (FileNotFoundError, ConnectionRefusedError):
        raise ControlError("does not listen") from None
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise ControlError(f"unusable answer ({type(error).__name__}: {error})") from error
    finally:
        connection.close()


def ask_all(
    paths: dict[int, Path], action: str = "status", timeout: float = TIMEOUT
) -> dict[int, Reply | ControlError]:
    """Ask many instances at once: a hung one costs its own timeout, not everybody's."""

    def one(number: int) -> Reply | ControlError:
        try:
            return ask(paths[number], action, timeout)
        except ControlError as error:
            return error

    if not paths:
        return {}
    with ThreadPoolExecutor(max_workers=min(len(paths), 128)) as pool:
        return dict(zip(paths, pool.map(one, paths), strict=True))


def _parse(body: dict[str, Any]) -> Reply:
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
