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


@dataclass(frozen=True)
class Reply:
    """What an instance says about itself."""

    state: str
    release: str
    uptime: float
    in_flight: int
    websockets: int
    pid: int


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
    connection = _UnixConnection(path, timeout)
    try:
        connection.request("GET" if action == "status" else "POST", f"/control/{action}")
        response = connection.getresponse()
        body = response.read(65536)
        if response.status != 200:
            raise ControlError(f"answered {response.status} to {action}")
        return _parse(json.loads(body))
    except TimeoutError:
        raise ControlError(f"no answer within {timeout:g} s") from None
    except (FileNotFoundError, ConnectionRefusedError):
        raise ControlError("does not listen") from None
    except (OSError, http.client.HTTPException, ValueError, TypeError, KeyError) as error:
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
    )
