"""Another machine's secrets are told from this one's, without showing any."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.plugins import load

filters = load("playbooks/filter_plugins/secrets.py")
SECRETS = {"database_app_password": "one of thirty-two characters", "redis_app_password": "two", "unused": "three"}


def test_secrets_that_are_not_the_inventory_s_are_named(tmp_path: Path) -> None:
    directory = tmp_path / "secrets"
    directory.mkdir()
    for name, value in {"database-password": SECRETS["database_app_password"], "redis-password": "two"}.items():
        (directory / name).write_text(value)

    def lines() -> list[str]:
        files = sorted(directory.iterdir())
        said = subprocess.run(["sha256sum", *files], text=True, capture_output=True, check=True).stdout
        return ["MemTotal:        8131924 kB", *said.splitlines()]

    assert filters.other_secrets(lines(), SECRETS) == []
    (directory / "redis-password").write_text("from another machine")
    (directory / "secret-key").write_text("made by hand")
    assert filters.other_secrets(lines(), SECRETS) == ["redis-password", "secret-key"]


def test_a_host_without_secrets_has_no_other_ones() -> None:
    assert filters.other_secrets(["MemTotal:        8131924 kB"], SECRETS) == []
