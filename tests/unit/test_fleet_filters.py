"""What the playbooks conclude from what hecto-fleet and hecto-admin answer."""

from __future__ import annotations

import json

import pytest

from tests.plugins import load

filters = load("roles/hecto/filter_plugins/fleet.py")
RELEASES = [json.dumps({"id": "a" * 12, "schema": "0002"}), json.dumps({"id": "b" * 12, "schema": "0003"})]
OLD = json.dumps({"id": "c" * 12})


def status(*instances: tuple[str | None, str | None]) -> str:
    return json.dumps({"instances": [{"release": release, "pin": pin} for release, pin in instances]})


@pytest.mark.parametrize(
    ("hosts", "schema"),
    [
        ([(status(("b" * 12, "b" * 12)), RELEASES)], "0003"),
        ([(status(("b" * 12, "b" * 12), ("b" * 12, "a" * 12)), RELEASES)], "0002"),
        ([(status(("b" * 12, "b" * 12)), RELEASES), (status((None, "a" * 12)), RELEASES)], "0002"),
        ([(status(("b" * 12, "c" * 12)), [*RELEASES, OLD])], ""),
        ([(status(("b" * 12, "d" * 12)), RELEASES)], ""),
        ([(status(), RELEASES)], "none"),
        ([(status(), RELEASES), (status(("b" * 12, None)), RELEASES)], "0003"),
    ],
)
def test_the_oldest_release_that_runs_or_could_counts(hosts: list[tuple[str, list[str]]], schema: str) -> None:
    assert filters.oldest_schema(hosts) == schema


def test_the_words_of_whoever_knows_best() -> None:
    assert filters.said({"rc": 5, "stdout": 'x\n{"error": "why"}', "stderr": "noise", "msg": "non-zero"}) == "why"
    assert filters.said({"rc": 1, "stdout": "", "stderr": " hecto: refused ", "msg": "non-zero"}) == "hecto: refused"
    assert filters.said({"msg": "Could not match"}) == "Could not match"
    assert filters.said({}) == "no reason was given"


def test_the_release_before_is_the_last_good_one_that_is_another() -> None:
    assert filters.previous({"release": "b", "last_good": "b", "good_before": "a"}) == "a"
    assert filters.previous({"release": "c", "last_good": "b", "good_before": "a"}) == "b"
    assert filters.previous({"release": "b", "last_good": "b", "good_before": None}) == ""
    assert filters.previous({"release": "b"}) == ""


def test_what_cannot_be_gone_back_to_is_said() -> None:
    assert filters.refusal("a" * 12, RELEASES, {"floor": None}) == ""
    assert filters.refusal("a" * 12, RELEASES, {"floor": "0002"}) == ""
    assert "schema is ahead" in filters.refusal("a" * 12, RELEASES, {"floor": "0003"})
    assert "schema is ahead" in filters.refusal("c" * 12, [*RELEASES, OLD], {"floor": "0001"})
    assert "not here any more" in filters.refusal("d" * 12, RELEASES, {})
    assert "none to go back to" in filters.refusal("", RELEASES, {})


def test_a_claim_of_a_run_that_is_dead_is_nobody_s() -> None:
    mine = {"who": "me@here", "run": filters.this_run("")}
    assert filters.this_run("") == mine["run"]
    assert not filters.is_dead(mine, "me@here")
    machine, number, _ = mine["run"].split("/")
    assert filters.is_dead({**mine, "run": f"{machine}/{number}/1"}, "me@here")
    assert filters.is_dead({**mine, "run": f"{machine}/4194999/1"}, "me@here")
    for other in ({**mine, "run": "elsewhere/4194999/1"}, {**mine, "run": ""}, None):
        assert not filters.is_dead(other, "me@here")
    assert not filters.is_dead({**mine, "run": f"{machine}/4194999/1"}, "you@here")


def test_a_roll_for_connections_moves_nothing_else() -> None:
    due = [{"instance": 1, "reasons": ["environment HECTO_DATABASE_POOL"]}]
    assert filters.pool_is_due(due)
    assert not filters.pool_is_due([*due, {"instance": 2, "reasons": ["release 0123456789ab"]}])
    assert not filters.pool_is_due([])


def test_numbers_are_spelled_for_a_person() -> None:
    assert filters.spell([4, 1, 2, 7, 3]) == "instances 1-4 7"
    assert filters.spell([5]) == "instance 5"
