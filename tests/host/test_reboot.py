"""The host goes down and comes up again: everything is there, and nothing has to be done by hand."""

from __future__ import annotations

import json
import re
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
