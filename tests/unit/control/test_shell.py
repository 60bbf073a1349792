"""Programs as root, where the one who calls is not: through sudo, with what they need of the environment."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from control import shell

NO_SUDO = '#!/bin/sh\n[ "$1" = -n ] && { echo "sudo: a password is required" >&2; exit 1; }\nexit 1\n'


@pytest.fixture
def somebody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Not root, with a sudo that asks for no password and runs what it is told, as the one who calls."""
    sudo = tmp_path / "bin" / "sudo"
    sudo.parent.mkdir()
    sudo.write_text('#!/bin/sh\nwhile :; do case "$1" in -*) shift;; *) exec "$@";; esac; done\n')
    sudo.chmod(0o755)
    monkeypatch.setenv("PATH", f"{sudo.parent}:{os.environ['PATH']}")
    monkeypatch.setattr(shell.os, "geteuid", lambda: 1000)
    for name in list(os.environ):
        if name.startswith("PIP_") or name.lower() in shell.NETWORK:
            monkeypatch.delenv(name)
    shell._authenticate.cache_clear()
    yield sudo
    shell._authenticate.cache_clear()


def test_root_needs_no_sudo(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shell.os, "geteuid", lambda: 0)
    assert shell.as_root(["apt-get", "update"]) == ["apt-get", "update"]


def test_sudo_hands_on_how_the_network_is_reached_and_nothing_else(
    somebody: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert shell.as_root(["true"]) == ["sudo", "true"]
    for name in ("https_proxy", "NO_PROXY", "PIP_CERT", "SSL_CERT_FILE", "MY_TOKEN"):
        monkeypatch.setenv(name, "value of it")
    words = shell.as_root(["true"])
    assert words == ["sudo", "--preserve-env=NO_PROXY,PIP_CERT,SSL_CERT_FILE,https_proxy", "true"]
    assert "value of it" not in " ".join(words), "a proxy's password would be in the list of processes"


def test_a_password_that_nobody_can_type_is_said_at_once(somebody: Path) -> None:
    somebody.write_text(NO_SUDO)
    # Without a terminal, as a playbook runs what builds a release.
    script = "from control import shell; shell.os.geteuid = lambda: 1000; shell.as_root(['true'])"
    done = subprocess.run(
        [sys.executable, "-c", script], text=True, capture_output=True, check=False, start_new_session=True
    )
    assert done.returncode == 1
    assert "sudo wants a password, and nobody can type one here" in done.stderr


def test_interrupted_while_root_s_program_runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    ended = []

    class Process:
        pid = 4711
        stdout = ("one line\n",)

        def __init__(self, *_: Any, **__: Any) -> None: ...

        def terminate(self) -> None:
            raise PermissionError("it belongs to root")

        def wait(self) -> int:
            ended.append("waited")
            return 0

    def interrupt(line: str) -> None:
        raise KeyboardInterrupt(line)

    monkeypatch.setattr(shell.subprocess, "Popen", Process)
    monkeypatch.setattr(shell.subprocess, "run", lambda command, **_: ended.append(" ".join(command)))
    with pytest.raises(KeyboardInterrupt, match="one line"):
        shell.run(["sudo", "build"], log=tmp_path / "log", watch=interrupt)
    assert ended == ["sudo -n kill 4711", "waited"]
