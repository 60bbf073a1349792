"""A certificate authority asks any edge for what one of them was given."""

from __future__ import annotations

import time

import pytest
import requests

from tests.integration.edge.cluster import EDGES, PUBLIC_NAME, Cluster

PATH = "/.well-known/acme-challenge/"


@pytest.fixture
def challenge(cluster: Cluster) -> str:
    """The name of one that the second edge has."""
    directory = cluster.directory / "lb2" / "acme" / PATH.strip("/")
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "token-1").write_text("token-1.thumbprint")
    return "token-1"


def ask(cluster: Cluster, edge: str, name: str) -> requests.Response:
    url = f"http://{EDGES[edge]}:{cluster.http_port}{PATH}{name}"
    return requests.get(url, headers={"Host": PUBLIC_NAME}, timeout=10, allow_redirects=False)


@pytest.mark.parametrize("edge", EDGES)
def test_every_edge_answers_for_all(cluster, challenge, edge):
    answer = ask(cluster, edge, challenge)
    assert (answer.status_code, answer.text) == (200, "token-1.thumbprint")


def test_what_nobody_has_is_looked_for_once(cluster, challenge):
    begun = time.monotonic()
    assert ask(cluster, "lb1", "other").status_code == 404
    assert time.monotonic() - begun < 2
    time.sleep(1.2)
    asked = [edge.log().count(f"{PATH}other") for edge in cluster.edges]
    assert asked == [1, 1]


def test_an_edge_that_is_away_is_in_nobody_s_way(cluster, challenge):
    cluster.edges[0].stop()
    try:
        assert ask(cluster, "lb2", challenge).status_code == 200
        assert ask(cluster, "lb2", "other").status_code in (404, 502)
    finally:
        time.sleep(0.5)
        cluster.edges[0].start()
