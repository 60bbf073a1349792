"""Runs over several hosts: one after the other, and all of them as before when one fails. It needs no host."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.unit.playbooks.hosts import NEW, OLD, Hosts

# About two hundred short processes each, which take their time on a machine that does something else as well.
pytestmark = pytest.mark.timeout(240)
Make = Callable[..., Hosts]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    return lambda *names: Hosts(tmp_path, *names)


def test_a_deploy_goes_host_by_host(make: Make) -> None:
    hosts = make("a", "b", "c")
    well, said = hosts.play("rolling-deploy.yml")
    assert well, said
    assert hosts.running() == dict.fromkeys("abc", (NEW, NEW))
    assert hosts.calls("roll") == [f"{name} roll {NEW}" for name in "aabbcc"]
    assert hosts.claims() == {}


def test_a_failure_takes_back_what_was_moved_and_says_why(make: Make) -> None:
    hosts = make("a", "b", "c")
    hosts.breaks("b", NEW)
    well, said = hosts.play("rolling-deploy.yml")
    assert not well
    assert hosts.running() == dict.fromkeys("abc", (OLD, OLD)), said
    assert hosts.claims() == {}
    assert f"b, at 'Batch | 1 of 2, instance 1': On release {NEW} instance-1 never was ready" in said
    assert f"a is back on release {OLD}" in said
    assert "c is back" not in said
    steps = [(line["what"], line["command"], line["release"]) for line in hosts.history("a")]
    assert steps == [("deploy", "activate", NEW), ("return", "activate", OLD), ("deploy", "unclaim", NEW)]
    for name in "abc":
        assert hosts.history(name)[-1]["result"].startswith("b, at 'Batch | 1 of 2, instance 1': On release")


def test_a_failure_takes_back_what_a_run_before_it_moved(make: Make) -> None:
    hosts = make("a", "b")
    hosts.was_moved("a")
    hosts.breaks("b", NEW)
    well, said = hosts.play("rolling-deploy.yml")
    assert not well
    assert hosts.running() == dict.fromkeys("ab", (OLD, OLD)), said
    assert {hosts.layout(name).current_release() for name in "ab"} == {OLD}
    assert f"a is back on release {OLD}" in said


@pytest.mark.skipif(not shutil.which("ssh"), reason="only a client of ssh tells that a host is gone")
def test_a_host_that_is_gone_keeps_no_other_from_going_back(make: Make) -> None:
    hosts = make("a", "b", "c", "d")
    hosts.breaks_with("c", "a")
    well, said = hosts.play("rolling-deploy.yml")
    assert not well
    assert hosts.running() == {"a": (NEW, NEW), **dict.fromkeys("bcd", (OLD, OLD))}, said
    assert set(hosts.claims()) == {"a"}
    last = said.partition("Return | Say what happened")[2]
    assert f"c, at 'Batch | 1 of 2, instance 1': On release {NEW}" in last
    assert "a could not be taken back: " in last
    assert f"b is back on release {OLD}" in last


def test_a_refused_claim_is_told_on_every_host(make: Make) -> None:
    hosts = make("a", "b", "c")
    hosts.is_claimed("b")
    well, said = hosts.play("rolling-deploy.yml")
    assert not well
    assert hosts.claims() == {"b": "grace@desk"}, said
    words = said.partition("Stop | Say what happened")[2]
    assert (
        words.count(f"    b, at 'Claim | Keep others away from the host': grace@desk is deploying release {NEW}") == 3
    )
    assert words.count("    On a nothing failed") == words.count("    On c nothing failed") == 1
    assert "On b nothing failed" not in words


def test_a_refused_migration_frees_every_host(make: Make) -> None:
    hosts = make("a", "b")
    hosts.refuses_to_migrate()
    well, said = hosts.play("rolling-deploy.yml")
    assert not well
    assert hosts.claims() == {}, said
    assert hosts.calls("roll") == []
    (line,) = hosts.history("b")
    assert (line["what"], line["release"]) == ("deploy", NEW)
    assert "revision 0009" in line["result"]
    words = said.partition("Stop | Say what happened")[2]
    assert (
        words.count("    a, at 'Migrate | Migrate the database and make the first administrator': revision 0009") == 2
    )


def test_a_change_of_size_goes_host_by_host(make: Make) -> None:
    """Those that run give up connections before others want them, in batches, and on one host at a time."""
    hosts = make("a", "b")
    for name in "ab":
        hosts.pool_is_due(name)
    well, said = hosts.play("scale.yml", hecto_instances=3)
    assert well, said
    assert hosts.running() == dict.fromkeys("ab", (OLD,) * 3)
    grown = [f"{name} {command} {OLD}" for name in "ab" for command in ("roll", "roll", "apply")]
    assert hosts.calls("roll", "apply") == [*grown, f"a apply {OLD}", f"b apply {OLD}"]
    assert hosts.claims() == {}


def test_a_change_of_size_that_fails_frees_every_host_and_says_why_once(make: Make) -> None:
    hosts = make("a", "b", "c")
    for name in "ab":
        hosts.pool_is_due(name)
    hosts.breaks("b", OLD)
    well, said = hosts.play("scale.yml", hecto_instances=3)
    assert not well
    assert hosts.claims() == {}, said
    assert hosts.running() == {"a": (OLD,) * 3, "b": (OLD,) * 2, "c": (OLD,) * 2}
    last = said.partition("Stop | Say what happened")[2]
    assert last.count(f"    b, at 'Batch | 1 of 2, instance 1': On release {OLD}") == 1
    assert "at 'Return | Say" not in last


def test_a_restart_brings_no_release_that_was_not_deployed(make: Make) -> None:
    hosts = make("a", "b")
    hosts.was_brought("b")
    well, said = hosts.play("rolling-restart.yml")
    assert not well
    assert f"Release {NEW} is brought to b and not deployed" in said
    assert hosts.calls("claim", "roll") == []
