"""Clients of running instances."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator

import pytest
import redis
import requests

from tests.servers import ADMIN_EMAIL, ADMIN_PASSWORD, AppInstance, Postgres, Redis, Site
from tests.servers import PASSWORD as SERVER_PASSWORD

_numbers = itertools.count(1)
PASSWORD = "a password for tests"


class Client(requests.Session):
    """Somebody who uses the API of one instance."""

    def __init__(self, instance: AppInstance) -> None:
        super().__init__()
        self.base = instance.url
        self.refresh_token = ""
        self.user_id = 0

    def request(self, method, url, **options):  # type: ignore[no-untyped-def]
        """Send a request to a path of the instance."""
        options.setdefault("timeout", 30)
        return super().request(method, self.base + url if url.startswith("/") else url, **options)

    def sign_in(self, email: str, password: str) -> Client:
        """Sign in and send the token from now on."""
        answer = self.post("/api/auth/login", json={"email": email, "password": password})
        assert answer.status_code == 200, answer.text
        self.headers["Authorization"] = "Bearer " + answer.json()["access_token"]
        self.refresh_token = answer.json()["refresh_token"]
        self.user_id = answer.json()["user"]["id"]
        return self

    def at(self, instance: AppInstance) -> Client:
        """The same sign-in, at another instance."""
        other = Client(instance)
        other.headers.update(self.headers)
        other.refresh_token, other.user_id = self.refresh_token, self.user_id
        return other

    def create_task(self, title: str = "a task", **fields: object) -> dict:
        """Create a task and return it."""
        answer = self.post("/api/tasks", json={"title": title, **fields})
        assert answer.status_code == 201, answer.text
        return answer.json()


@pytest.fixture(scope="session")
def instance(instances: tuple[AppInstance, AppInstance]) -> AppInstance:
    return instances[0]


@pytest.fixture(scope="module", autouse=True)
def another_address(redis_server: Redis) -> None:
    """Hundreds of people sign in from the one address of the tests; each file begins as if from another one."""
    redis_server.ask("DEL", "login:address:127.0.0.1")


@pytest.fixture(scope="session")
def admin(instance: AppInstance) -> Client:
    """The administrator that setup created."""
    return Client(instance).sign_in(ADMIN_EMAIL, ADMIN_PASSWORD)


@pytest.fixture
def client(instance: AppInstance) -> Client:
    """Somebody who is not signed in."""
    return Client(instance)


@pytest.fixture
def member(instance: AppInstance, admin: Client) -> Client:
    """A new user with the everyday role, signed in."""
    email = f"member{next(_numbers)}@example.com"
    body = {"email": email, "name": f"Member {email}", "password": PASSWORD}
    assert admin.post("/api/users", json=body).status_code == 201
    found = Client(instance).sign_in(email, PASSWORD)
    found.email = email
    return found


@pytest.fixture
def somebody(instance: AppInstance, admin: Client) -> Callable[[str], Client]:
    """Makes users with the everyday role, signed in, no two of the same name."""

    def make(name: str = "Somebody") -> Client:
        number = next(_numbers)
        body = {"email": f"{name.lower()}{number}@example.com", "name": f"{name} {number}", "password": PASSWORD}
        assert admin.post("/api/users", json=body).status_code == 201
        found = Client(instance).sign_in(body["email"], PASSWORD)
        found.email, found.name = body["email"], body["name"]
        return found

    return make


@pytest.fixture
def mara(somebody: Callable[[str], Client]) -> Client:
    return somebody("Mara")


@pytest.fixture
def jonas(somebody: Callable[[str], Client]) -> Client:
    return somebody("Jonas")


class Browser(requests.Session):
    """Somebody who uses the pages of one instance, as htmx does."""

    def __init__(self, instance: AppInstance, email: str, password: str) -> None:
        super().__init__()
        self.base = instance.url
        answer = self.post(f"{self.base}/sign-in", data={"email": email, "password": password}, timeout=30)
        assert answer.status_code == 200, answer.text
        self.headers["HX-Request"] = "true"
        self.headers["X-CSRF-Token"] = re.search('name="csrf-token" content="([^"]+)"', answer.text)[1]

    def see(self, path: str) -> str:
        """The page at a path."""
        answer = self.get(self.base + path, timeout=30)
        assert answer.status_code == 200, answer.text
        return answer.text

    def submit(self, path: str, **fields: object) -> requests.Response:
        """Send a form."""
        return self.post(self.base + path, data=fields, headers={"HX-Request-Type": "partial"}, timeout=30)


@pytest.fixture
def browser(instance: AppInstance, member: Client) -> Browser:
    """The member, in a browser."""
    return Browser(instance, member.email, PASSWORD)


@pytest.fixture
def redis_keys(redis_server: Redis) -> Iterator:
    """The keys in Redis that fit a pattern."""
    client = redis.Redis(unix_socket_path=str(redis_server.socket), username="hecto", password=SERVER_PASSWORD)
    yield lambda pattern: set(client.scan_iter(pattern))
    client.close()


@pytest.fixture
def sql(site: Site, postgres: Postgres) -> Iterator:
    """Run SQL on the site's database as the superuser."""
    return lambda statement: postgres.sql(site.database, statement)
