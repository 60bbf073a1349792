"""Hosts have the same tag for nginx as for the app, and addresses are written as nginx reads them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from hecto import settings
from tests.plugins import load

ROOT = Path(__file__).resolve().parents[2]


hosts = load("playbooks/filter_plugins/hosts.py")


@pytest.mark.parametrize("name", ["app1", "app-1.example.com", "APP_1", "127.0.0.1", "a" * 200])
def test_a_session_s_host_has_one_tag(name):
    assert hosts.host_tag(name) == settings.host_tag(name)
    assert len(hosts.host_tag(name)) == 6


def test_tags_do_not_change_with_time():
    # Sessions outlive a deployment: another tag for the same host would cut every one that polls.
    assert hosts.host_tag("app1") == "171ee6"


@pytest.mark.parametrize(
    ("address", "written"),
    [("192.0.2.7", "192.0.2.7:8444"), ("fd00::7", "[fd00::7]:8444"), ("app1.example", "app1.example:8444")],
)
def test_an_address_with_a_port(address, written):
    assert hosts.authority(address, 8444) == written


def test_hosts_as_roles_take_them():
    addresses = {"a": "192.0.2.1", "b": "192.0.2.2", "c": "192.0.2.3"}
    expected = [{"name": "c", "address": "192.0.2.3"}, {"name": "a", "address": "192.0.2.1"}]
    assert hosts.hosts(["c", "a"], addresses) == expected


def test_the_setting_reaches_the_instances_only_among_several_hosts(tmp_path):
    """On one host the file is as it always was, so that nobody has to restart an instance for it."""
    template = ROOT / "roles/hecto/templates/hecto.env.j2"
    lines = {host: _rendered(template, tmp_path / f"env-{host}", host) for host in ("", "app1")}
    assert not [line for line in lines[""] if "HECTO_HOST" in line]
    assert set(lines["app1"]) - set(lines[""]) == {'HECTO_HOST="app1"'}


def _rendered(template: Path, destination: Path, host: str) -> list[str]:
    words = [Path(sys.executable).with_name("ansible"), "localhost", "-i", "localhost,", "-c", "local"]
    values = {"hecto_host": host, "hecto_public_url": "https://erp.example.com"}
    done = subprocess.run(
        [*words, "-m", "ansible.builtin.template", "-a", f"src={template} dest={destination} mode=0600",
         "-e", f"@{ROOT}/roles/hecto/defaults/main.yml", "-e", f"ansible_python_interpreter={sys.executable}",
         *(word for name, value in values.items() for word in ("-e", f"{name}='{value}'"))],
        cwd=ROOT, text=True, capture_output=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return destination.read_text().splitlines()
