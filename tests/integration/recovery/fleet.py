"""Two instances that share a site, and what a test does to them from outside."""

from __future__ import annotations

import base64
import getpass
import itertools
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import Any

import requests

from tests.integration.conftest import PASSWORD, Client
from tests.integration.test_nginx_templates import certificate, nginx, place, render
from tests.servers import ADMIN_EMAIL, ADMIN_PASSWORD, REPOSITORY, AppInstance, Site, free_instance, wait_until

_numbers = itertools.count(1)


class Fleet:
    """The instances, and the events and rooms of their sockets."""

    def __init__(self, site: Site) -> None:
        self.site = site
        with ThreadPoolExecutor() as pool:
            self.instances = tuple(pool.map(self._start, (1, 2)))

    def _start(self, number: int) -> AppInstance:
        environment = {
            "PYTHONPATH": f"{REPOSITORY / 'app'}:{REPOSITORY}",
            "STAGE_PLACE": str(number),
            # One address has hundreds of clients here.
            "HECTO_REQUESTS_PER_MINUTE": "100000",
        }
        return AppInstance(self.site, app="tests.integration.recovery.stage:app", **environment)

    @property
    def urls(self) -> tuple[str, ...]:
        return tuple(instance.url for instance in self.instances)

    @cached_property
    def admin(self) -> Client:
        return Client(self.instances[0]).sign_in(ADMIN_EMAIL, ADMIN_PASSWORD)

    def member(self) -> Client:
        """Somebody new with the everyday role, signed in."""
        email = f"mover{next(_numbers)}@example.com"
        answer = self.admin.post("/api/users", json={"email": email, "name": "Mover", "password": PASSWORD})
        assert answer.status_code == 201, answer.text
        found = Client(self.instances[0]).sign_in(email, PASSWORD)
        found.email = email
        return found

    def sign_in(self, member: Client) -> Client:
        """The same person, in another browser."""
        return Client(self.instances[0]).sign_in(member.email, PASSWORD)

    def count(self, room: str, *numbers: int, at: int = 0, size: int = 0) -> None:
        """Send events with these numbers to a room, from one of the instances, with so many bytes more in each."""
        more = {"text": "x" * size} if size else {}
        messages = [{"room": room, "event": "number", "payload": {"n": number, **more}} for number in numbers]
        assert self.ask(at, "emit", messages=messages).ok

    def tell_all(self, *messages: tuple[str, str, dict[str, Any]], at: int = 0) -> None:
        """Send events as (room, name, payload), all at once."""
        told = [{"room": room, "event": event, "payload": payload} for room, event, payload in messages]
        assert self.ask(at, "emit", messages=told).ok

    def attach(self, room: str, content: bytes) -> None:
        """Send an event with bytes in it."""
        message = {"room": room, "event": "attached", "payload": {}, "attachment": base64.b64encode(content).decode()}
        assert self.ask(0, "emit", messages=[message]).ok

    def enter(self, sid: str, room: str) -> None:
        assert self._ask_owner("enter", sid=sid, room=room) is not None

    def leave(self, sid: str, room: str) -> None:
        assert self._ask_owner("leave", sid=sid, room=room) is not None

    def close(self, sid: str) -> None:
        """End the connection of a socket from the server's side, below Socket.IO."""
        assert self._ask_owner("close", sid=sid) is not None

    def rooms(self, sid: str) -> set[str]:
        """The rooms that a socket is in; none when nobody holds it."""
        answer = self._ask_owner("rooms", sid=sid)
        return set(answer["rooms"]) if answer else set()

    def holds(self, number: int, sid: str) -> bool:
        """Whether this instance takes the socket for connected."""
        return self.ask(number, "rooms", sid=sid).ok

    def held(self, number: int) -> dict[str, int]:
        """How much of what connections need an instance holds."""
        return self.ask(number, "held").json()

    def wait_at(self, door: str) -> None:
        """Wait until somebody is at a door of the first instance."""
        wait_until(lambda: door in self.ask(0, "waiting").json()["doors"], f"somebody at the door {door!r}", seconds=5)

    def tell(self, room: str, event: str, payload: dict[str, Any], at: int = 1) -> None:
        """Send one event from an instance, the second one unless told otherwise."""
        assert self.ask(at, "emit", messages=[{"room": room, "event": event, "payload": payload}]).ok

    def ask(self, number: int, action: str, **asked: Any) -> requests.Response:
        return requests.post(f"{self.instances[number].url}/stage/{action}", json=asked, timeout=10)

    def kill(self, number: int) -> None:
        """End an instance as the kernel does that has no memory left: nobody gets to say anything."""
        self.instances[number].kill()

    def tracebacks(self) -> list[str]:
        """What went wrong in the instances so far, as they have it in their logs."""
        return [each for instance in self.instances for each in instance.log.read_text().split("Traceback")[1:]]

    def stop(self) -> None:
        for instance in self.instances:
            instance.stop()

    def _ask_owner(self, action: str, **asked: Any) -> dict[str, Any] | None:
        """Ask the instance that holds the socket; None when none does."""
        for number in range(len(self.instances)):
            answer = self.ask(number, action, **asked)
            if answer.ok:
                return answer.json()
            assert answer.status_code == 404, answer.text
        return None


class Edge:
    """The nginx of the role in front of a fleet: a session's requests go to its instance, a new one's to any."""

    def __init__(self, directory: Path, fleet: Fleet) -> None:
        directory.mkdir()
        port = 5000 + free_instance()
        self.url = f"https://127.0.0.1:{port}"
        certificate(directory, "site")
        text = render(
            directory,
            nginx_public_url=self.url,
            nginx_instances=2,
            nginx_http_port=18080,
            nginx_https_port=port,
            nginx_ipv6=False,
            nginx_workers=1,
        )[0]
        text = text.replace("listen 18080", f"listen unix:{directory}/http.sock")
        text = text.replace("user www-data;", f"user {getpass.getuser()};")
        for number, instance in enumerate(fleet.instances, 1):
            (directory / f"{number}.sock").symlink_to(fleet.site.run / f"{instance.number}.sock")
        self._file = place(directory, text)
        done = nginx(self._file)
        assert done.returncode == 0, done.stderr

    def stop(self) -> None:
        done = nginx(self._file, "-s", "stop")
        assert done.returncode == 0, done.stderr
