"""./hecto up: what it leaves behind, and that repeating it is quick and changes nothing."""

from __future__ import annotations

import json
import re
import stat
import time
import uuid
from pathlib import Path

import pytest
import requests

from tests.host.conftest import Hecto

AGAIN_SECONDS = 60  # the promise, on 2 cores


def test_credentials_are_for_their_owner_only(state: Path, credentials: dict[str, str]) -> None:
    assert stat.S_IMODE((state / "credentials.json").stat().st_mode) == 0o600
    assert set(credentials) == {"url", "email", "password", "ca"}
    secrets = list((state / "secrets").iterdir())
    assert secrets
    assert all(stat.S_IMODE(file.stat().st_mode) == 0o600 for file in secrets)


@pytest.mark.timeout(300)
def test_again_changes_nothing_and_is_quick(hecto: Hecto, state: Path) -> None:
    started = time.monotonic()
    done = hecto("up")
    seconds = time.monotonic() - started
    assert done.returncode == 0, done.stderr
    recap = re.findall(r"changed=(\d+)\s+unreachable=(\d+)\s+failed=(\d+)", (state / "log" / "site.log").read_text())
    assert recap == [("0", "0", "0")]
    assert seconds < AGAIN_SECONDS, f"it took {seconds:.0f} s:\n{done.stderr}"


def test_status_shows_every_instance(hecto: Hecto) -> None:
    done = hecto("status", "--json")
    assert done.returncode == 0, done.stderr
    instances = json.loads(done.stdout)["instances"]
    assert [instance["state"] for instance in instances] == ["ready"] * 4
    table = hecto("status").stdout
    assert all(f"instance-{number}" in table for number in range(1, 5))


def test_exec_keeps_arguments_and_exit_codes(hecto: Hecto) -> None:
    done = hecto("exec", "--", "printf", "%s|", "two words", "$HOME", "it's")
    assert done.stdout == "two words|$HOME|it's|"
    assert hecto("exec", "--", "sh", "-c", "exit 7").returncode == 7


def test_logs_of_one_instance(hecto: Hecto) -> None:
    done = hecto("logs", "2", "--lines", "20")
    assert done.returncode == 0, done.stderr
    assert " hecto-2 " in done.stdout
    assert " hecto-1 " not in done.stdout


def test_plain_http_leads_to_https(state: Path, credentials: dict[str, str]) -> None:
    port = json.loads((state / "host.json").read_text())["http_port"]
    answer = requests.get(f"http://127.0.0.1:{port}/", allow_redirects=False, timeout=10)
    assert answer.status_code in (301, 308)
    assert answer.headers["location"] == f"{credentials['url']}/"


def test_a_throttled_account_hears_from_the_app_how_long(credentials: dict[str, str]) -> None:
    """nginx limits an address by its own 429, and must let the one of the app pass."""
    body = {"email": f"{uuid.uuid4().hex}@example.com", "password": "wrong"}
    for _ in range(11):
        answer = requests.post(f"{credentials['url']}/api/auth/login", json=body, verify=credentials["ca"], timeout=30)
    assert answer.status_code == 429
    assert "this account" in answer.json()["detail"]
    assert int(answer.headers["Retry-After"]) > 60
