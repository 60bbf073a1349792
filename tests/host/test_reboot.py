"""The host goes down and comes up again: everything is there, and nothing has to be done by hand."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.host.conftest import Hecto


@pytest.mark.timeout(400)
def test_a_reboot_brings_everything_back(
    hecto: Hecto, state: Path, fleet: Callable[[], dict[str, Any]], credentials: dict[str, str], token: str
) -> None:
    def ask(method: str, path: str, **options: Any) -> requests.Response:
        headers = {"Authorization": f"Bearer {token}"}
        url = credentials["url"] + path
        return requests.request(method, url, headers=headers, verify=credentials["ca"], timeout=30, **options)

    before = {instance["name"]: instance["release"] for instance in fleet()["instances"]}
    task = ask("POST", "/api/tasks", json={"title": "Outlive a reboot"}).json()
    assert hecto("down").returncode == 0
    stopped = hecto("status")
    assert stopped.returncode != 0
    assert "./hecto up" in stopped.stderr
    done = hecto("up")
    assert done.returncode == 0, done.stderr
    recap = re.findall(r"changed=(\d+)\s+unreachable=(\d+)\s+failed=(\d+)", (state / "log" / "site.log").read_text())
    assert recap == [("0", "0", "0")], "what a boot needs is enabled, not started by hand"
    assert {instance["name"]: instance["release"] for instance in fleet()["instances"]} == before
    assert ask("GET", f"/api/tasks/{task['id']}").json()["title"] == "Outlive a reboot"
    host = json.loads((state / "host.json").read_text())
    assert host["instances"] == len(before)
    assert hecto("exec", "--", "systemctl", "--failed", "--plain", "--no-legend").stdout == ""


# Kills what a unit runs, again and again as it comes back.
KILLER = """
killed=0 last=0
until [ $killed = "$1" ]; do
    pid=$(systemctl show "$0" --property=MainPID --value)
    if [ "$pid" != 0 ] && [ "$pid" != "$last" ] && kill -9 "$pid"; then last=$pid killed=$((killed + 1)); fi
    sleep 0.1
done
"""


@pytest.mark.timeout(200)
@pytest.mark.parametrize(
    ("unit", "kills"),
    # PostgreSQL mends itself for seconds each time, so it never is that often within ten.
    [("nginx.service", 6), ("redis-server.service", 6), ("postgresql@*-main.service", 2)],
)
def test_a_server_that_is_killed_comes_back_as_often_as_it_takes(
    hecto: Hecto, credentials: dict[str, str], unit: str, kills: int
) -> None:
    """systemd's own patience would end with the fifth start in ten seconds."""

    def is_healthy() -> bool:
        try:
            answer = requests.get(credentials["url"] + "/api/health", verify=credentials["ca"], timeout=10)
            return answer.ok and answer.json()["status"] == "OK"
        except requests.ConnectionError:
            return False

    assert hecto("exec", "--", "timeout", "60", "bash", "-c", KILLER, unit, str(kills)).returncode == 0
    deadline = time.monotonic() + 30
    while not is_healthy():
        assert time.monotonic() < deadline, f"{unit} does not work again"
        time.sleep(0.1)
    assert hecto("exec", "--", "systemctl", "--failed", "--plain", "--no-legend").stdout == ""


def test_a_redis_that_is_killed_brings_back_what_scripts_wrote(hecto: Hecto) -> None:
    """Redis reads its file as a user, and passes over the transactions of one who may not do what they do."""
    sign_in = "--user hecto --no-auth-warning --pass $(cat /etc/hecto/secrets/redis-password)"

    def ask(words: str) -> str:
        command = f"redis-cli -s /run/redis/redis-server.sock {sign_in} {words}"
        return hecto("exec", "--", "bash", "-c", command).stdout.strip()

    assert (
        ask("""EVAL "redis.call('SET', 'first', 1) redis.call('SET', 'second', 2, 'EX', 60) return 'written'" 0""")
        == "written"
    )
    # What was answered is on disk within a second.
    time.sleep(1.5)
    assert hecto("exec", "--", "timeout", "60", "bash", "-c", KILLER, "redis-server.service", "1").returncode == 0
    deadline = time.monotonic() + 30
    while ask("PING") != "PONG":
        assert time.monotonic() < deadline, "Redis does not come back"
        time.sleep(0.1)
    assert (ask("GETDEL first"), ask("GETDEL second")) == ("1", "2")
