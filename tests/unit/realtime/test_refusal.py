"""Beside a package that takes WebSockets over in gunicorn's gevent worker, the server does not start."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.servers import REPOSITORY

SCRIPT = "from hecto.realtime.engine import Engine; Engine(async_mode='threading'); print('it runs')"


@pytest.fixture
def beside(tmp_path: Path):
    """Makes an engine beside an installed package of some name."""

    def run(package: str) -> subprocess.CompletedProcess[str]:
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").write_text("raise AssertionError('nobody imports it')")
        environment = {"PYTHONPATH": f"{tmp_path}:{REPOSITORY / 'app'}"}
        command = [sys.executable, "-c", SCRIPT]
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)

    return run


def test_it_does_not_start_beside_gevent_websocket(beside):
    done = beside("geventwebsocket")
    assert done.returncode == 1
    assert "RuntimeError: the package gevent-websocket is installed" in done.stderr
    assert "uninstall it" in done.stderr
    assert not done.stdout


def test_it_starts_beside_others(beside):
    done = beside("something_else")
    assert (done.returncode, done.stdout) == (0, "it runs\n"), done.stderr
