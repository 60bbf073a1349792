"""A run on a cluster: the load, the listeners and the faults, each a phase until the cluster is whole again."""

from __future__ import annotations

import json
import os
import secrets
import ssl
import subprocess
import time
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from control.site import ROOT
from control.tools import environment
from tests.chaos import checker, evidence, history, report
from tests.chaos.campaign import Campaign
from tests.chaos.report import Report
from tests.cluster import figures, hearing
from tests.cluster.cluster import Cluster
from tests.cluster.faults import Fault
from tests.cluster.figures import Row
from tests.cluster.hearing import Hearing

PROGRAM = Path(__file__).with_name("listeners.mjs")
# Its node_modules hold the client that browsers get.
FRONTEND = ROOT / "app" / "frontend" / "package.json"
# Each has its own allowance of connections and requests.
PEOPLE = 3
BEGIN_SECONDS, WHOLE_SECONDS = 60.0, 240.0
# A page on a host that is gone notices it after 46 s, an event whose teller died is told after 38 s at the latest.
CATCH_UP_SECONDS = 120.0
# Time for what a fault has stirred up to show in the requests that follow.
AFTERWARDS = 3.0


class Site:
    """The site's API, as its administrator."""

    def __init__(self, credentials: Mapping[str, str]) -> None:
        self._url = credentials["url"]
        context = ssl.create_default_context(cafile=credentials["ca"])
        self._opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)
        )
        account = {"email": credentials["email"], "password": credentials["password"]}
        self._token = ""
        self._token = self.post("/api/auth/login", account)["access_token"]

    def post(self, path: str, body: Mapping[str, Any]) -> Any:
        """Ask for something to be made."""
        headers = {"Content-Type": "application/json", "Idempotency-Key": secrets.token_hex(8)}
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        request = urllib.request.Request(self._url + path, json.dumps(body).encode(), headers)  # noqa: S310
        with self._opener.open(request, timeout=30) as answer:
            return json.load(answer)


class Listeners:
    """Pages that are open all the time, in a process of their own."""

    def __init__(self, credentials: Mapping[str, str], count: int, directory: Path) -> None:
        self.count = count
        self._heard = directory / "heard.jsonl"
        self._file: IO[str] = self._heard.open("w")
        self._errors: IO[str] = (directory / "listeners.log").open("w")
        site, accounts = Site(credentials), []
        for number in range(PEOPLE):
            email, password = f"{secrets.token_hex(6)}@example.com", secrets.token_hex(16)
            site.post("/api/users", {"email": email, "name": f"Listener {number}", "password": password})
            share = count // PEOPLE + (number < count % PEOPLE)
            accounts.append({"email": email, "password": password, "listeners": share})
        self._process = subprocess.Popen(
            ["node", PROGRAM, FRONTEND, credentials["url"]],
            stdin=subprocess.PIPE,
            stdout=self._file,
            stderr=self._errors,
            env={**os.environ, **environment(), "NODE_EXTRA_CA_CERTS": credentials["ca"]},
            text=True,
        )
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(accounts))
        self._process.stdin.close()
        self.wait_for(lambda line: line[2] == "connect", BEGIN_SECONDS)

    def lines(self) -> Iterator[list[Any]]:
        """Everything until now."""
        with self._heard.open() as lines:
            for line in lines:
                if line.endswith("\n"):
                    yield json.loads(line)

    def wait_for(self, wanted: Any, seconds: float) -> None:
        """Wait until every listener has heard something."""
        deadline = time.monotonic() + seconds
        while True:
            there = {line[0] for line in self.lines() if wanted(line)}
            if len(there) == self.count:
                return
            if time.monotonic() > deadline or self._process.poll() is not None:
                raise AssertionError(f"{len(there)} of {self.count} listeners heard what they should")
            time.sleep(1.0)

    def close(self) -> None:
        """End them all without a word."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        self._file.close()
        self._errors.close()


@dataclass
class Trial(Campaign):
    """A campaign on a site of several hosts, with open pages."""

    listeners: int = 12
    report: Report = field(init=False)
    hearing: Hearing = field(init=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.cluster = Cluster(self.site, self.hosts)
        self.credentials = json.loads((self.site.directory / "credentials.json").read_text())
        self._faults: list[tuple[Fault, str, float]] = []
        self._pages: Listeners | None = None

    def begin(self) -> None:
        """Open the pages, then start the load; comes back when everybody works."""
        self.cluster.wait_until_whole(WHOLE_SECONDS)
        self._pages = Listeners(self.credentials, self.listeners, self.directory)
        super().begin()

    def suffer(self, fault: Fault) -> None:
        """Strike, wait until the cluster is whole, and let that be a phase."""
        seen = sum(phase.name.startswith(fault.name) for phase in self.phases)
        name = f"{fault.name}, again ({seen + 1})" if seen else fault.name
        if fault.prepare:
            with self.phase(f"preparing for {name}", bounded=True):
                fault.prepare(self.cluster)
        with self.phase(name, bounded=not fault.unseen):
            begun = history.now()
            words, whole = fault.name, float("inf")
            try:
                words = fault.strike(self.cluster)
                lacked = self.cluster.wait_until_whole(WHOLE_SECONDS)
                whole = history.now() - begun
                words += f"; last of all there lacked: {lacked}" if lacked else ""
                self.rest(AFTERWARDS)
            finally:
                self.note(words, begun, seconds=round(history.now() - begun, 1))
                self._faults.append((fault, name, round(whole, 1)))

    def conclude(self) -> list[Row]:
        """Let the load end and everybody hear the last of it; then a row for each fault, and the calm before."""
        operations, found = self.finish()
        self._catch_up()
        assert self._pages is not None
        heard = hearing.check(operations, hearing.parse(self._pages.lines()), self.run)
        self.report, self.hearing = report.make(self, operations, found), heard
        damage = checker.check(operations, found.truth, found.listed)
        return figures.rows(self.phases, self._faults, operations, damage, heard)

    def _catch_up(self) -> None:
        """Wait until all that was committed is told, and every page has heard a last word."""
        database = evidence.primary(self.hosts)
        deadline = time.monotonic() + CATCH_UP_SECONDS
        while (left := database.query("SELECT count(*) FROM outbox")) != ["0"]:
            assert time.monotonic() < deadline, f"{left[0]} lines of the outbox are not told"
            time.sleep(1.0)
        assert self._pages is not None
        title = f"{self.run}.end"
        Site(self.credentials).post("/api/tasks", {"title": title})
        self._pages.wait_for(lambda line: line[2] == hearing.CREATED and line[6] == title, CATCH_UP_SECONDS)

    def close(self) -> None:
        """Leave nothing running, whatever has happened."""
        if self._pages is not None:
            self._pages.close()
        self.cluster.close()
        super().close()
