"""What the role writes is what Prometheus and Alertmanager take: on one host, on several, whichever way alerts go."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from tests.plugins import load

ROOT = Path(__file__).resolve().parents[3]
ROLE = ROOT / "roles/monitoring"
HOSTS = [
    {"name": "a", "address": "10.0.0.1", "groups": ["app", "lb", "monitoring", "postgres", "redis"], "instances": 2},
    {"name": "b", "address": "fd00::2", "groups": ["app", "etcd", "monitoring", "postgres"], "instances": 2},
]
MAIL = {
    "monitoring_mail_to": ["a@example.com", "b@example.com"],
    "monitoring_mail_from": "hecto@example.com",
    "monitoring_mail_smarthost": "mail.example.com:587",
    "monitoring_mail_user": "hecto",
}
HOOK = {"monitoring_webhook_url": "https://chat.example.com/hooks/1"}


def render(name: str, **variables: Any) -> str:
    plugin = load(ROLE / "filter_plugins/targets.py")
    world = Environment(
        loader=FileSystemLoader(ROLE / "templates"),
        trim_blocks=True,
        keep_trailing_newline=True,
        undefined=StrictUndefined,
        autoescape=False,  # noqa: S701  it writes no pages
    )
    world.filters |= {"to_json": json.dumps, **plugin.FilterModule().filters()}
    known = yaml.safe_load((ROLE / "defaults/main.yml").read_text())
    internal = yaml.safe_load((ROLE / "vars/main.yml").read_text())
    known |= {key: value for key, value in internal.items() if "{{" not in str(value)}
    known |= {"ansible_managed": "by Ansible", "inventory_hostname": "a", "monitoring_hosts": HOSTS, **variables}
    known["__monitoring_sends_mail"] = bool(known["monitoring_mail_to"])
    return world.get_template(name).render(known)


def checked(text: str, tmp_path: Path, *words: str) -> dict[str, Any]:
    file = tmp_path / "checked.yml"
    file.write_text(text)
    program = shutil.which(words[0])
    assert program, f"{words[0]} is not here; ./hecto test installs it"
    done = subprocess.run([program, *words[1:], file], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    found: dict[str, Any] = yaml.safe_load(text)
    return found


@pytest.mark.parametrize("tls", [False, True])
def test_prometheus_takes_its_configuration(tls: bool, tmp_path: Path) -> None:
    text = render("prometheus.yml.j2", monitoring_tls=tls)
    # The rules and the certificates that it names are on the host.
    config = checked(text, tmp_path, "promtool", "check", "config", "--syntax-only")
    jobs = {job["job_name"]: job for job in config["scrape_configs"]}
    assert len(jobs["hecto"]["static_configs"]) == 4
    assert ("tls_config" in jobs["node"]) is tls
    assert ("etcd" in jobs) is tls
    assert config["alerting"]["alertmanagers"][0].get("scheme", "http") == ("https" if tls else "http")


@pytest.mark.parametrize("sent", [{}, MAIL, HOOK, MAIL | HOOK], ids=["nowhere", "mail", "webhook", "both"])
def test_alertmanager_takes_its_configuration(sent: dict[str, Any], tmp_path: Path) -> None:
    config = checked(render("alertmanager.yml.j2", **sent), tmp_path, "amtool", "check-config")
    people = {receiver["name"]: receiver for receiver in config["receivers"]}["people"]
    assert [to["to"] for to in people.get("email_configs", [])] == sent.get("monitoring_mail_to", [])
    assert ("webhook_configs" in people) is ("monitoring_webhook_url" in sent)


def test_a_password_for_mail_is_not_in_the_configuration() -> None:
    assert "of the mail" not in render("alertmanager.yml.j2", **MAIL, monitoring_mail_password="of the mail")


def test_the_watchdog_goes_to_nobody_but_its_own_address(tmp_path: Path) -> None:
    address = "https://watch.example.com/ping"
    text = render("alertmanager.yml.j2", **HOOK, monitoring_watchdog_url=address)
    config = checked(text, tmp_path, "amtool", "check-config")
    watchdog = config["route"]["routes"][0]
    assert watchdog["matchers"] == ['alertname="Watchdog"']
    receivers = {receiver["name"]: receiver for receiver in config["receivers"]}
    assert [hook["url"] for hook in receivers[watchdog["receiver"]]["webhook_configs"]] == [address]


def test_what_is_expected_comes_from_the_inventory(tmp_path: Path) -> None:
    config = checked(render("expected.yml.j2"), tmp_path, "promtool", "check", "rules")
    assert {rule["record"]: rule["expr"] for rule in config["groups"][0]["rules"]} == {
        "hecto:expected_standbys": "vector(1)",
        "hecto:expected_backups": "vector(1)",
        "hecto:expected_etcd": "vector(1)",
    }
