"""A restore has the fleet for itself, and the fleet stands still no longer than it must. It needs no host."""

from __future__ import annotations

from pathlib import Path

import pytest

from hecto.fleet import claim
from tests.unit.playbooks.hosts import OLD, Hosts

pytestmark = pytest.mark.timeout(240)
YES = {"backup_restore_confirm": "yes"}


@pytest.fixture
def hosts(tmp_path: Path) -> Hosts:
    made = Hosts(tmp_path, "a", "b")
    made.have_backups("a")
    return made


def test_it_stops_restores_starts_and_leaves_the_hosts_free(hosts: Hosts) -> None:
    well, said = hosts.play("restore.yml", **YES)
    assert well, said
    assert hosts.calls("hecto-backup") == ["a hecto-backup restorable", "a hecto-backup restore"]
    order = [line.split()[1] for line in hosts.calls("claim", "systemctl", "hecto-backup", "unclaim")]
    asked = ["hecto-backup", "claim", "claim", *["systemctl"] * 4, "hecto-backup", "systemctl", "systemctl"]
    assert order == [*asked, "unclaim", "unclaim"]
    assert hosts.claims() == {}
    assert [(line["what"], line["result"]) for line in hosts.history("b")] == [("restore", "done")]


def test_a_deploy_at_work_keeps_it_away_and_goes_on(hosts: Hosts) -> None:
    hosts.is_claimed("b")
    well, said = hosts.play("restore.yml", **YES)
    assert not well
    assert "b, at 'Claim | Keep others away from the host': grace@desk is deploying release" in said
    assert hosts.calls("systemctl") == []
    assert hosts.claims() == {"b": "grace@desk"}, said


@pytest.mark.parametrize("playbook", ["rolling-deploy.yml", "rolling-restart.yml", "rollback.yml"])
def test_it_keeps_others_away_and_says_so(hosts: Hosts, playbook: str) -> None:
    claim.take(hosts.layout("a"), "grace@desk", "desk/1/1", None, 600, what="restore")
    well, said = hosts.play(playbook, hecto_release=OLD if playbook == "rollback.yml" else "")
    assert not well
    assert "a, at 'Claim | Keep others away from the host': grace@desk has this host for a restore" in said
    assert hosts.calls("roll", "activate") == []


def test_what_cannot_be_had_stops_nothing(hosts: Hosts) -> None:
    hosts.backups_fail("restorable", "hecto-backup: it is before the end of the oldest backup: nothing was touched.")
    well, said = hosts.play("restore.yml", **YES)
    assert not well
    assert "a: hecto-backup: it is before the end of the oldest backup" in said
    assert hosts.calls("claim", "systemctl") == []


def test_a_failure_frees_the_hosts_and_starts_nothing(hosts: Hosts) -> None:
    hosts.backups_fail("restore", "hecto-backup: the store is gone.")
    well, said = hosts.play("restore.yml", **YES)
    assert not well
    words = said.partition("Stop | Say what happened")[2]
    assert "a, at 'Restore | Restore, start and look it through': hecto-backup: the store is gone." in words
    assert "The instances stay stopped" in words
    assert "a systemctl start" not in hosts.calls("systemctl")
    assert hosts.claims() == {}
    assert "the store is gone" in hosts.history("b")[-1]["result"]
