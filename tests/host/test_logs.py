"""One id finds a request in nginx's line, in what its instance says and in PostgreSQL's log, all in the journal."""

from __future__ import annotations

import json
import subprocess
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

import requests

from tests.host.conftest import Hecto

T = TypeVar("T")
# Long enough that what is left of it, when somebody has seen that it holds, is slow for PostgreSQL and the app; shorter
# than anybody waits for a lock.
HELD = 4.0
# The longest that a line may take into the journal, in seconds.
LATE = 15
HOLD = f"BEGIN; SELECT id FROM task WHERE id = %d FOR UPDATE; SELECT pg_sleep({HELD}); ROLLBACK"


def until(ask: Callable[[], T], enough: Callable[[T], bool]) -> T:
    """What is found when it is enough, or when nothing more can come any more."""
    deadline = time.monotonic() + LATE
    while not enough(found := ask()) and time.monotonic() < deadline:
        time.sleep(0.5)
    return found


def messages(hecto: Hecto, request_id: str) -> dict[str, list[str]]:
    """What was said of a request, by who said it, without the numbers of instances."""
    found: dict[str, list[str]] = {}
    for line in hecto("logs", "--request", request_id, "--json").stdout.splitlines():
        entry: dict[str, Any] = json.loads(line)
        who = entry["SYSLOG_IDENTIFIER"].partition("-")[0]
        found.setdefault(who, []).append(entry["MESSAGE"])
    return found


def test_a_slow_request_is_followed_from_the_edge_to_its_statement(
    hecto: Hecto, credentials: dict[str, str], token: str
) -> None:
    client = requests.Session()
    # Authorities that the environment names would count instead of this one.
    client.trust_env, client.verify = False, credentials["ca"]
    client.headers["Authorization"] = f"Bearer {token}"
    url = f"{credentials['url']}/api/tasks"
    task = client.post(url, json={"title": "Find me in the logs"}, timeout=30).json()
    hold = ["runuser", "-u", "postgres", "--", "psql", "-q", "-d", "hecto", "-c", HOLD % task["id"]]
    holder = threading.Thread(target=lambda: hecto("exec", "--", *hold))
    holder.start()
    held = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'BEGIN; SELECT id FROM task%' AND state = 'active'"
    ask = ["runuser", "-u", "postgres", "--", "psql", "-qAt", "-c", held]
    deadline = time.monotonic() + 30
    while hecto("exec", "--", *ask).stdout.strip() != "1" and time.monotonic() < deadline:
        pass
    change = {"title": "Found", "version": task["version"]}
    answer = client.patch(f"{url}/{task['id']}", json=change, timeout=30)
    holder.join()
    assert answer.status_code == 200, answer.text
    assert "X-Hecto-User" not in answer.headers
    request_id = answer.headers["X-Request-ID"]
    # nginx writes its lines down once a second.
    found = until(lambda: messages(hecto, request_id), lambda said: {"nginx", "hecto", "postgres"} <= said.keys())
    (edge,) = map(json.loads, found["nginx"])
    assert (edge["method"], edge["status"]) == ("PATCH", 200)
    said = [json.loads(message) for message in found["hecto"]]
    slow = next(line for line in said if line["message"] == "a request was slow")
    assert slow["user"] == edge["user"]
    assert f"request_id='{request_id}',route='tasks.change_task',user='{edge['user']}'" in found["postgres"][0]
    assert "duration: " in found["postgres"][0]
    short = hecto("logs", "--request", request_id).stdout
    assert f"200 PATCH /api/tasks/{task['id']}" in short


def test_no_line_is_lost_in_a_burst(hecto: Hecto, credentials: dict[str, str]) -> None:
    mark = f"/api/none-{time.time_ns()}"
    words = ["curl", "--silent", "--output", "/dev/null", "--cacert", credentials["ca"], "--parallel"]
    words += ["--parallel-max", "50", f"{credentials['url']}{mark}/[1-3000]"]
    assert subprocess.run(words, check=False, timeout=400).returncode == 0
    count = f"journalctl -t nginx -o cat --since -10min | grep -cF '{mark}/'"
    counted = until(lambda: int(hecto("exec", "--", "sh", "-c", count).stdout), lambda lines: lines >= 3000)
    assert counted == 3000
