"""A cluster for the tests of the edge."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.edge.cluster import Cluster, Person
from tests.servers import ADMIN_EMAIL, ADMIN_PASSWORD, Site


@pytest.fixture(scope="session")
def cluster(directory: Path, site: Site) -> Iterator[Cluster]:
    found = Cluster(directory / "edge-cluster", site)
    yield found
    found.stop()


@pytest.fixture(scope="session")
def token(cluster: Cluster) -> str:
    """What the administrator signs in with."""
    return str(cluster.person().sign_in(ADMIN_EMAIL, ADMIN_PASSWORD).headers["Authorization"])


@pytest.fixture
def person(cluster: Cluster, token: str) -> Person:
    return cluster.person(token)
