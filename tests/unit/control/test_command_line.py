"""The executable and its help, and settings that must be the same in two places."""

from __future__ import annotations

import configparser
import errno
import os
import subprocess
from pathlib import Path

import pytest
import yaml

from control import cli, packages
from control.cli import main
from control.packages import for_browser, for_hosts, for_releases, for_tests, for_tools
from control.podman import limit_options
from control.progress import Failure

ROOT = Path(__file__).resolve().parents[3]
# molecule runs in a directory of its own and gets these another way.
NOT_MOLECULE = {"inventory", "roles_path", "filter_plugins"}


def test_help_from_anywhere_with_nothing_but_the_system(tmp_path: Path) -> None:
    link = tmp_path / "hecto"
    link.symlink_to(ROOT / "hecto")
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    done = subprocess.run([link, "--help"], cwd=tmp_path, env=environment, text=True, capture_output=True, check=True)
    for command in (
        "up",
        "down",
        "destroy",
        "deploy",
        "restart",
        "rollback",
        "scale",
        "history",
        "status",
        "logs",
        "exec",
        "plan",
        "release",
        "test",
    ):
        assert f"\n    {command} " in done.stdout


def test_too_old_a_python_is_said(tmp_path: Path) -> None:
    for name in ("python3", "python3.11", "python3.12", "python3.13"):
        old = tmp_path / name
        old.write_text("#!/bin/sh\nexit 1\n")
        old.chmod(0o755)
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = subprocess.run([ROOT / "hecto", "up"], env=environment, text=True, capture_output=True, check=False)
    assert done.returncode == 1
    assert "Python 3.11" in done.stderr


@pytest.mark.parametrize(
    "words",
    [["up", "--instances", "0"], ["scale"], ["scale", "0"], ["up", "--instances", "x"], ["test", "nonsense"], []],
)
def test_wrong_usage_is_refused(words: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(words)
    assert caught.value.code == 2


def test_what_no_step_has_expected_is_no_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse() -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "/somewhere/host.json")

    monkeypatch.setattr(cli, "load_site", refuse)
    assert main(["status"]) == 1
    said = capsys.readouterr().err
    assert "/somewhere/host.json: No space left on device" in said
    assert "What to do: " in said


def test_every_package_says_what_it_is_for() -> None:
    for need in for_hosts() + for_releases() + for_tools() + for_tests() + for_browser():
        assert need.why
        assert need.packages
        assert need.commands or need.files or not need.met


def test_limits_are_within_our_own() -> None:
    names = {option.split("=")[1] for option in limit_options()}
    assert names == {"nofile", "nproc", "memlock"}


def test_molecule_runs_ansible_with_the_settings_of_the_project() -> None:
    project = configparser.ConfigParser()
    project.read(ROOT / "ansible.cfg")
    molecule = yaml.safe_load((ROOT / ".config" / "molecule" / "config.yml").read_text())["ansible"]["cfg"]
    wanted = {
        section: {key: str(value).lower() for key, value in project[section].items() if key not in NOT_MOLECULE}
        for section in project.sections()
    }
    assert {
        section: {key: str(value).lower() for key, value in keys.items()} for section, keys in molecule.items()
    } == wanted


def test_ubuntu_s_browser_is_asked_for_only_where_pages_are_tested(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages, "_distribution", lambda: "ubuntu")
    monkeypatch.setattr(packages, "CHROMIUM", "/no/chromium")
    assert not any("chromium" in need.packages for need in packages.for_tests())
    with pytest.raises(Failure, match="/no/chromium"):
        packages.for_browser()
