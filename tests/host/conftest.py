"""A whole site on a real systemd host: the one that ./hecto test has brought up, named by HECTO_NAME."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests

REPOSITORY = Path(__file__).parent.parent.parent
Hecto = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="session")
def state() -> Path:
    """The site's directory on this machine."""
    path = REPOSITORY / ".hecto" / os.environ.get("HECTO_NAME", "local")
    assert (path / "credentials.json").exists(), f"there is no running site in {path}. Start one with ./hecto up"
    return path


@pytest.fixture(scope="session")
def credentials(state: Path) -> dict[str, str]:
    found: dict[str, str] = json.loads((state / "credentials.json").read_text())
    return found


@pytest.fixture(scope="session")
def hecto() -> Hecto:
    """Runs ./hecto as a person does."""

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([REPOSITORY / "hecto", *words], text=True, capture_output=True, check=False, timeout=540)

    return run


@pytest.fixture(scope="session")
def token(credentials: dict[str, str]) -> str:
    """An access token of the administrator; one for the whole run, since sign-ins are throttled."""
    body = {"email": credentials["email"], "password": credentials["password"]}
    answer = requests.post(f"{credentials['url']}/api/auth/login", json=body, verify=credentials["ca"], timeout=30)
    assert answer.status_code == 200, answer.text
    found: str = answer.json()["access_token"]
    return found


@pytest.fixture
def fleet(hecto: Hecto) -> Callable[[], dict[str, Any]]:
    """What ./hecto status --json says."""

    def ask() -> dict[str, Any]:
        done = hecto("status", "--json")
        assert done.stdout, done.stderr
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    return ask
