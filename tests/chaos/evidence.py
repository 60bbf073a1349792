"""What there is to see on the hosts after a run: the database, the whole list, nginx's logs, and the machine."""

from __future__ import annotations

import json
import os
import ssl
import time
import urllib.request
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from control.site import Site
from tests.chaos.commands import PSQL, Host
from tests.chaos.history import State
from tests.chaos.truth import STATEMENTS, Truth, from_rows

# How late a line may get into the journal.
FLUSH_SECONDS = 1.5
# Read where it lies: a long run's log is larger than all that is to be known of it.
# Behind an edge that passes to other hosts, their inner servers write of the same requests once more: those lead to
# sockets, and are left out there.
COUNT = """
import collections, json, subprocess, sys
inner = sys.argv[2:]
found = collections.Counter()
words = ["journalctl", "--identifier=nginx", "--output=cat", "--quiet", "--after-cursor", sys.argv[1]]
with subprocess.Popen(words, stdout=subprocess.PIPE, encoding="utf-8", errors="replace") as log:
    for line in log.stdout:
        # The others are what nginx says of itself.
        if not line.startswith("{"):
            continue
        entry = json.loads(line)
        if not entry["path"].startswith("/api/") or (inner and entry["upstream"].startswith(inner[0])):
            continue
        found["requests"] += 1
        # Tries are divided by commas, those of @panic by a colon.
        tries = entry["upstream_status"].replace(" : ", ", ").split(", ")
        if len(tries) > 1:
            found["retried"] += 1
            found["tries"] += len(tries) - 1
            found.update("after " + (status or "-") for status in tries[:-1])
        if " : " in entry["upstream"]:
            found["panicked"] += 1
        if entry["status"] >= 500:
            found["failed"] += 1
        if entry["status"] == 499:
            found["abandoned"] += 1
json.dump(found, sys.stdout)
"""
VERSIONS = """
. /etc/os-release; echo "Debian: $PRETTY_NAME"
echo "kernel: $(uname -r)"
echo "nginx: $(nginx -v 2>&1 | sed 's,.*/,,')"
echo "PostgreSQL: $(ls /usr/lib/postgresql)"
echo "Redis: $(redis-server --version | sed 's/.*v=\\([^ ]*\\).*/\\1/')"
echo "systemd: $(systemctl --version | sed -n '1s/systemd //p')"
echo "Python: $(/opt/hecto/current/bin/python --version | sed 's/Python //')"
"""


@dataclass
class Evidence:
    """All that a report is made from, beside the history."""

    truth: Truth
    listed: list[State]
    nginx: dict[str, int]
    machine: dict[str, str]


def log_ends(hosts: Sequence[Host]) -> dict[str, str]:
    """Where the journal of each host ends now."""
    shown = {host.name: host.run("journalctl --lines=0 --show-cursor --quiet").output for host in hosts}
    return {name: output.partition("-- cursor: ")[2].strip() for name, output in shown.items()}


def primary(hosts: Sequence[Host]) -> Host:
    """The host whose database takes writes."""
    for host in hosts:
        if len(hosts) == 1 or host.run(f"{PSQL} -c 'SELECT pg_is_in_recovery()'", check=False).output.strip() == "f":
            return host
    raise AssertionError(f"none of {', '.join(host.name for host in hosts)} has a database that takes writes")


def gather(hosts: Sequence[Host], run: str, site: Site, ends: Mapping[str, str]) -> Evidence:
    """Look at everything once the load is over."""
    time.sleep(FLUSH_SECONDS)
    database = primary(hosts)
    tasks, lines = (database.query(statement.format(run=run)) for statement in STATEMENTS)
    inner = "unix:" if len(hosts) > 1 else ""
    nginx: Counter[str] = Counter()
    for host in hosts:
        nginx.update(json.loads(host.run(f"python3 - '{ends[host.name]}' {inner}", stdin=COUNT).output))
    return Evidence(from_rows(tasks, lines), whole_list(site, run), dict(nginx), machine(hosts[0]))


def whole_list(site: Site, run: str) -> list[State]:
    """Every task of the run as the site lists it, page by page."""
    credentials = json.loads((site.directory / "credentials.json").read_text())
    context = ssl.create_default_context(cafile=credentials["ca"])
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context))

    def ask(path: str, token: str = "", body: dict[str, str] | None = None) -> Any:
        headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
        content = json.dumps(body).encode() if body else None
        request = urllib.request.Request(credentials["url"] + path, content, headers)  # noqa: S310  our own address
        with opener.open(request, timeout=30) as answer:
            return json.load(answer)

    account = {"email": credentials["email"], "password": credentials["password"]}
    token = ask("/api/auth/login", body=account)["access_token"]
    found: list[State] = []
    after: int | None = None
    while True:
        query = {"q": f"{run}.", "limit": "200"} | ({"after": str(after)} if after else {})
        page = ask(f"/api/tasks?{urlencode(query)}", token)
        found += [State(task["id"], task["version"], task["title"], task["status"]) for task in page["items"]]
        after = page["next"]
        if not after:
            return found


def machine(host: Host) -> dict[str, str]:
    """What the figures were measured on."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    found = {"cores": str(os.cpu_count()), "memory": f"{memory:.0f} GB"}
    for line in host.run(VERSIONS).output.splitlines():
        name, _, value = line.partition(": ")
        found[name] = value.strip()
    return found
