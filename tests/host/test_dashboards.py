"""What Grafana would show of a watched site: each panel asked of its Prometheus. For a site that has one."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
import requests

from control.site import load_site
from tests.chaos.commands import Host
from tests.host.conftest import REPOSITORY

Ask = Callable[..., Any]
DASHBOARDS = sorted((REPOSITORY / "roles/monitoring/files/dashboards").glob("*.json"))
PANELS = {
    f"{file.stem}: {panel['title']} {target['refId']}": target
    for file in DASHBOARDS
    for panel in json.loads(file.read_text())["panels"]
    for target in panel["targets"]
}
CHOICES = {
    f"{file.stem}: {choice['name']}": choice["query"]["query"]
    for file in DASHBOARDS
    for choice in json.loads(file.read_text())["templating"]["list"]
    if choice["type"] == "query"
}
PROMETHEUS = "http://127.0.0.1:9090/api/v1"
# A host has no curl. What Prometheus says of a wrong question comes with an error.
GET = """
import sys, urllib.error, urllib.request
try:
    print(urllib.request.urlopen(sys.argv[1], timeout=20).read().decode())
except urllib.error.HTTPError as error:
    sys.exit(error.read().decode())
"""
HOSTS = "up{job='node'}"
# What a healthy site has none of. That its metric has the right name, tests/unit/monitoring says.
NOTHING_IS_GOOD = {"instances: Errors by endpoint", "redis: Deaf"}
SEVERAL_HOSTS_ONLY = {"postgres: Replication lag"}
# The exporters are asked every 15 seconds, and a rate needs two answers.
PATIENCE = 60.0


@pytest.fixture(scope="module")
def watcher() -> Iterator[Host]:
    """The host that watches: the only one, or the last of several (inventory/local-cluster)."""
    site = load_site()
    host = Host(site, site.hosts[-1])
    yield host
    host.close()


@pytest.fixture(scope="module")
def ask(watcher: Host) -> Ask:
    """Asks Prometheus, which listens on its host alone; the fields of a request in, its data out."""

    def run(path: str, **fields: str) -> Any:
        done = watcher.run(f"python3 - '{PROMETHEUS}/{path}?{urlencode(fields)}'", stdin=GET, check=False)
        if path == "status/buildinfo" and done.code != 0:
            pytest.skip("no Prometheus answers on this site: its inventory has no host in the group monitoring")
        assert done.code == 0, f"{fields}: {done.output}{done.errors}"
        return done.json()["data"]

    run("status/buildinfo")
    return run


@pytest.fixture(scope="module", autouse=True)
def traffic(ask: Ask, credentials: dict[str, str], token: str) -> Iterator[None]:
    """Somebody who asks for something each second, or there would be no rates."""
    # Of what is asked of no module, such as /api/health, no times are kept.
    url, headers = f"{credentials['url']}/api/tasks", {"Authorization": f"Bearer {token}"}
    over = threading.Event()

    def work() -> None:
        while not over.wait(1):
            requests.get(url, headers=headers, verify=credentials["ca"], timeout=30)

    thread = threading.Thread(target=work)
    thread.start()
    yield
    over.set()
    thread.join()


def expression(target: dict[str, Any]) -> str:
    """With Grafana's own words replaced as Grafana would."""
    text: str = target["expr"]
    return text.replace("$__rate_interval", "1m").replace("$host", ".*")


@pytest.mark.parametrize("name", PANELS)
def test_a_panel_shows_something(name: str, ask: Ask) -> None:
    title, target = name.rpartition(" ")[0], PANELS[name]
    deadline = time.monotonic() + PATIENCE
    # An expression that does not parse is told at once. What is divided by nothing is NaN, and nothing is drawn.
    while not (found := [one for one in ask("query", query=expression(target))["result"] if one["value"][1] != "NaN"]):
        if title in NOTHING_IS_GOOD or (title in SEVERAL_HOSTS_ONLY and len(ask("query", query=HOSTS)["result"]) == 1):
            return
        assert time.monotonic() < deadline, f"nothing to show: {expression(target)}"
        time.sleep(5)
    # A line is named by labels that it has, or all lines of the panel have the same name.
    for label in re.findall(r"{{\s*(\w+)\s*}}", target.get("legendFormat", "")):
        assert all(label in one["metric"] for one in found), f"{label} is in the legend and not in {found[0]['metric']}"


@pytest.mark.parametrize("name", CHOICES)
def test_there_is_something_to_choose(name: str, ask: Ask) -> None:
    series, label = re.fullmatch(r"label_values\((.*), (\w+)\)", CHOICES[name]).groups()  # type: ignore[union-attr]
    assert all(label in one["metric"] for one in ask("query", query=series)["result"])
    assert ask("query", query=series)["result"]


def test_no_exporter_is_refused_by_redis(ask: Ask, watcher: Host, state: Path) -> None:
    """What it asks for in vain would be in the log that is there for intruders, with each scrape."""
    password = (state / "secrets/redis-admin-password").read_text().strip()
    reset = redis(watcher, password, "ACL LOG RESET")
    assert reset == ["OK"]
    before = asked(ask)
    deadline = time.monotonic() + 2 * PATIENCE
    while asked(ask) < before + 2:
        assert time.monotonic() < deadline, "Prometheus does not ask the exporter of Redis"
        time.sleep(5)
    assert [line for line in redis(watcher, password, "ACL LOG") if line] == []


def redis(watcher: Host, password: str, command: str) -> list[str]:
    words = f"AUTH admin {password}\n{command}\n"
    return watcher.run("redis-cli -s /run/redis/redis-server.sock", stdin=words).output.splitlines()[1:]


def asked(ask: Ask) -> int:
    """How often the exporter of Redis has been asked, of several the one that was asked least."""
    (found,) = ask("query", query="min(redis_exporter_scrapes_total)")["result"]
    return int(found["value"][1])


def test_every_rule_works(ask: Ask) -> None:
    """Prometheus says of each whether it could be evaluated."""
    rules = [rule for group in ask("rules")["groups"] for rule in group["rules"]]
    assert rules
    assert [(rule["name"], rule.get("lastError")) for rule in rules if rule["health"] != "ok"] == []
