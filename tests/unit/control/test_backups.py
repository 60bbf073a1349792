"""The encrypted copy of the secrets: it can be read, is compared with what is in use, and shows nothing."""

from __future__ import annotations

import stat
import subprocess
from pathlib import Path

import pytest

from control import backups
from control.backups import check_secrets, save_secrets
from control.progress import Failure

PASSPHRASE = b"a long passphrase"


@pytest.fixture
def state(tmp_path: Path) -> Path:
    directory = tmp_path / "mine"
    (directory / "secrets").mkdir(parents=True)
    (directory / "secrets" / "backup-cipher").write_text("the cipher of the backups\n")
    (directory / "tls").mkdir()
    (directory / "tls" / "ca.key").write_text("a key\n")
    (directory / "log").mkdir()
    (directory / "log" / "site.log").write_text("not kept\n")
    return directory


@pytest.fixture
def copy(state: Path, tmp_path: Path) -> Path:
    target = tmp_path / "copy"
    save_secrets(state, target, PASSPHRASE)
    return target


def test_a_copy_is_what_is_in_use(state: Path, copy: Path) -> None:
    check_secrets(state, copy, PASSPHRASE)


def test_a_copy_is_for_its_owner_and_shows_nothing(copy: Path) -> None:
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    assert b"cipher of the backups" not in copy.read_bytes()


@pytest.mark.parametrize("name", ["secrets/backup-cipher", "tls/ca.key"])
def test_a_changed_secret_is_named(state: Path, copy: Path, name: str) -> None:
    (state / name).write_text("another\n")
    with pytest.raises(Failure, match=name):
        check_secrets(state, copy, PASSPHRASE)


def test_a_new_and_a_lost_secret_are_named(state: Path, copy: Path) -> None:
    (state / "secrets" / "backup-cipher").rename(state / "secrets" / "new")
    with pytest.raises(Failure, match="secrets/backup-cipher, state/secrets/new"):
        check_secrets(state, copy, PASSPHRASE)


def test_logs_do_not_count(state: Path, copy: Path) -> None:
    (state / "log" / "site.log").write_text("more\n")
    check_secrets(state, copy, PASSPHRASE)


def test_another_passphrase_reads_nothing(state: Path, copy: Path) -> None:
    with pytest.raises(Failure, match="another one, or the file is damaged"):
        check_secrets(state, copy, b"another passphrase")


def test_a_damaged_copy_is_found(state: Path, copy: Path) -> None:
    copy.write_bytes(copy.read_bytes()[:-40])
    with pytest.raises(Failure, match="damaged"):
        check_secrets(state, copy, PASSPHRASE)


@pytest.fixture
def inventory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """That of a site on hosts of its own, which links what all inventories have in common."""
    monkeypatch.setattr(backups, "ROOT", tmp_path)
    directory = tmp_path / "inventory/mine"
    (directory / "group_vars/all").mkdir(parents=True)
    (tmp_path / "inventory/defaults.yml").write_text("of the sources: 1\n")
    (directory / "group_vars/all/defaults.yml").symlink_to("../../../defaults.yml")
    (directory / "group_vars/all/site.yml").write_text("of the site: 1\n")
    (directory / "hosts.yml").write_text("all:\n")
    return directory


def test_the_inventory_is_a_part_of_it(state: Path, inventory: Path, tmp_path: Path) -> None:
    save_secrets(state, tmp_path / "copy", PASSPHRASE)
    check_secrets(state, tmp_path / "copy", PASSPHRASE)
    (inventory / "hosts.yml").write_text("all: another\n")
    with pytest.raises(Failure, match=r"inventory/hosts\.yml"):
        check_secrets(state, tmp_path / "copy", PASSPHRASE)


def test_the_page_says_how_to_come_back_from_it(state: Path, inventory: Path, tmp_path: Path) -> None:
    save_secrets(state, tmp_path / "copy", PASSPHRASE)
    _, _, page = (Path(__file__).parents[3] / "docs/backups.md").read_text().partition("## When the control machine")
    script = page.partition("```\n")[2].partition("```")[0].replace("/media/stick/hecto-mine", str(tmp_path / "copy"))
    sources = tmp_path / "sources"
    (sources / "inventory").mkdir(parents=True)
    (sources / "inventory/defaults.yml").write_text("of the newer sources: 1\n")
    commands = script.replace("openssl enc", "openssl enc -pass fd:3")
    passphrase = tmp_path / "passphrase"
    passphrase.write_bytes(PASSPHRASE + b"\n")
    subprocess.run(["bash", "-ec", f"exec 3<{passphrase}; umask 077; {commands}"], cwd=sources, check=True)
    assert (sources / ".hecto/mine/secrets/backup-cipher").read_text() == "the cipher of the backups\n"
    assert (sources / "inventory/mine/hosts.yml").read_text() == "all:\n"
    assert "newer" in (sources / "inventory/mine/group_vars/all/defaults.yml").read_text()
