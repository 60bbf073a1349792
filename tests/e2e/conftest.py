"""A real browser at a running site: the one whose credentials are in .hecto/$HECTO_NAME/credentials.json."""

from __future__ import annotations

import itertools
import json
import os
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect, sync_playwright

from tests.e2e.people import ARGUMENTS, CHROMIUM, Person, Site, trusted_key

REPOSITORY = Path(__file__).parent.parent.parent
AXE = REPOSITORY / "app/frontend/node_modules/axe-core/axe.min.js"

# On two busy cores a page with its socket takes a second or two; what is not there after this is broken.
expect.set_options(timeout=15_000)
_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def site() -> Site:
    """The running site, and its administrator."""
    path = REPOSITORY / ".hecto" / os.environ.get("HECTO_NAME", "local") / "credentials.json"
    assert path.exists(), f"there is no running site: {path} is missing. Start one with ./hecto up"
    return Site(**json.loads(path.read_text()))


@pytest.fixture(scope="session")
def browser(site: Site) -> Iterator[Browser]:
    """Debian's Chromium. It trusts the site's certificate because Python has checked it against the site's CA."""
    arguments = [*ARGUMENTS, *trusted_key(site)]
    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield found
        found.close()


@pytest.fixture
def administrator(site: Site, browser: Browser) -> Iterator[Person]:
    """The person who signs in with the credentials that ./hecto up printed."""
    person = Person(site, browser, site.email, site.password)
    yield person
    person.leave()


@pytest.fixture
def somebody(site: Site, browser: Browser) -> Iterator[Callable[..., Person]]:
    """Makes users with the everyday role, each in a browser of their own. What goes wrong in one fails the test."""
    found: list[Person] = []

    def make(name: str, **options: object) -> Person:
        email = f"{name.lower()}-{secrets.token_hex(4)}@example.com"
        site.create_user(email, name)
        found.append(Person(site, browser, email, site.MEMBER_PASSWORD, name=name, **options))
        return found[-1]

    yield make
    for person in found:
        person.leave()


@pytest.fixture
def title() -> str:
    """A title that no other task has, in this run or another."""
    return f"Count the pallets {secrets.token_hex(4)}-{next(_numbers)}"


@pytest.fixture(scope="session")
def axe() -> str:
    """The accessibility checker, as a script."""
    assert AXE.exists(), f"{AXE} is missing: run npm ci in app/frontend"
    return AXE.read_text()
