"""People in browsers, and the site that they use."""

from __future__ import annotations

import base64
import hashlib
import re
import socket
import ssl
import subprocess
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar
from urllib.parse import urlsplit

import requests
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, expect

CHROMIUM = "/usr/bin/chromium"
ARGUMENTS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
# The browser itself notes every answer above 399; the tests check these answers by what the page does with them.
EXPECTED = "the server responded with a status of (401|409|422|503)"


@dataclass
class Site:
    """The site under test, used by its API to prepare what a test needs."""

    url: str
    email: str
    password: str
    ca: str | None = None

    MEMBER_PASSWORD: ClassVar[str] = "a password for tests"

    @cached_property
    def administrator(self) -> requests.Session:
        """The administrator's client: one for the whole run, since sign-ins are throttled."""
        return self.api(self.email, self.password)

    def api(self, email: str, password: str) -> requests.Session:
        """A signed-in client of the API."""
        client = requests.Session()
        client.verify = self.ca or True
        # REQUESTS_CA_BUNDLE and proxies of the machine would override the site's own CA.
        client.trust_env = False
        answer = client.post(f"{self.url}/api/auth/login", json={"email": email, "password": password}, timeout=30)
        assert answer.status_code == 200, answer.text
        client.headers["Authorization"] = "Bearer " + answer.json()["access_token"]
        return client

    def create_user(self, email: str, name: str) -> None:
        """A user with the everyday role."""
        body = {"email": email, "name": name, "password": self.MEMBER_PASSWORD}
        answer = self.administrator.post(f"{self.url}/api/users", json=body, timeout=30)
        assert answer.status_code == 201, answer.text


class Person:
    """Somebody with a browser of their own; every error that it reports counts against the test."""

    def __init__(
        self, site: Site, browser: Browser, email: str, password: str, name: str = "Administrator", **options: Any
    ) -> None:
        self.site, self.email, self.password, self.name = site, email, password, name
        self.problems: list[str] = []
        self.expected = EXPECTED
        options.setdefault("viewport", {"width": 1280, "height": 900})
        self.context: BrowserContext = browser.new_context(base_url=site.url, **options)
        self.context.on("console", self._listen)
        self.context.on("weberror", lambda error: self.problems.append(f"uncaught: {error.error}"))

    @cached_property
    def api(self) -> requests.Session:
        """This person's client of the API."""
        return self.site.api(self.email, self.password)

    def page(self) -> Page:
        """Another tab."""
        return self.context.new_page()

    def signed_in(self, path: str = "/", *, live: bool = True) -> Page:
        """A tab at a page, after signing in there; with ``live`` it is connected, too."""
        page = self.page()
        page.goto(path)
        if "/sign-in" in page.url:
            self.sign_in(page)
        expect(page).to_have_url(self.site.url + path)
        if live:
            connected(page)
        return page

    def sign_in(self, page: Page, password: str | None = None) -> None:
        """Fill in the form and send it."""
        page.get_by_label("E-mail address").fill(self.email)
        page.get_by_label("Password").fill(password or self.password)
        page.get_by_role("button", name="Sign in").click()

    def create_task(self, title: str, **fields: object) -> dict[str, Any]:
        """A task made by the API, to have something to begin with."""
        answer = self.api.post(f"{self.site.url}/api/tasks", json={"title": title, **fields}, timeout=30)
        assert answer.status_code == 201, answer.text
        return answer.json() | {"instance": answer.headers["X-Instance"]}

    def change_task(self, task: dict[str, Any], **fields: object) -> dict[str, Any]:
        """A change made by the API, as by a colleague elsewhere."""
        address = f"{self.site.url}/api/tasks/{task['id']}"
        version = self.api.get(address, timeout=30).json()["version"]
        answer = self.api.patch(address, json={"version": version, **fields}, timeout=30)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def leave(self) -> None:
        """Close the browser and fail for what it reported."""
        self.context.close()
        assert not self.problems, f"the browser of {self.name} reported:\n" + "\n".join(self.problems)

    def _listen(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning") and not re.search(self.expected, message.text):
            self.problems.append(f"{message.type}: {message.text}")


def connected(page: Page) -> None:
    """Wait until the page hears of changes."""
    expect(page.locator("[data-connection]").last).to_have_attribute("data-state", "live")


def mark(page: Page) -> None:
    """Leave a mark that does not survive loading the page again."""
    page.evaluate("window.notReloaded = true")


def not_reloaded(page: Page) -> bool:
    """Whether the page is still the one that was marked."""
    return bool(page.evaluate("window.notReloaded === true"))


def trusted_key(site: Site) -> list[str]:
    """What makes Chromium accept the certificate of the site, once Python has checked it against the site's CA."""
    if not site.url.startswith("https:"):
        return []
    address = urlsplit(site.url)
    context = ssl.create_default_context(cafile=site.ca)
    plain = socket.create_connection((address.hostname, address.port or 443), timeout=30)
    with context.wrap_socket(plain, server_hostname=address.hostname) as connection:
        certificate = connection.getpeercert(binary_form=True)
    assert certificate is not None
    key = _openssl(
        _openssl(certificate, "x509", "-inform", "DER", "-pubkey", "-noout"), "pkey", "-pubin", "-outform", "DER"
    )
    digest = base64.b64encode(hashlib.sha256(key).digest()).decode()
    return [f"--ignore-certificate-errors-spki-list={digest}"]


def _openssl(given: bytes, *arguments: str) -> bytes:
    return subprocess.run(["openssl", *arguments], input=given, capture_output=True, check=True).stdout
