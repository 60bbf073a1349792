"""What every test may use."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers import AppInstance, Postgres, Redis, Site, scratch


@pytest.fixture(scope="session")
def directory() -> Iterator[Path]:
    path = scratch()
    yield path
    shutil.rmtree(path)


@pytest.fixture(scope="session")
def postgres(directory: Path) -> Iterator[Postgres]:
    server = Postgres(directory / "postgres")
    yield server
    server.stop()


@pytest.fixture(scope="session")
def redis_server(directory: Path) -> Iterator[Redis]:
    server = Redis(directory / "redis")
    yield server
    server.stop()


@pytest.fixture(scope="session")
def site(directory: Path, postgres: Postgres, redis_server: Redis) -> Site:
    """A site that is set up, shared by the tests of this process."""
    found = Site(directory, postgres, redis_server, "hecto")
    found.setup()
    return found


@pytest.fixture(scope="session")
def instances(site: Site) -> Iterator[tuple[AppInstance, AppInstance]]:
    """Two instances on the same database and Redis."""
    running = AppInstance(site), AppInstance(site)
    yield running
    for instance in running:
        instance.stop()
