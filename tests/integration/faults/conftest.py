"""A PostgreSQL, a Redis and an instance of its own for each file, which its tests may stop."""

from __future__ import annotations

import pytest

from tests.integration.conftest import Client
from tests.servers import ADMIN_EMAIL, ADMIN_PASSWORD, AppInstance, Postgres, Redis, Site, scratch


@pytest.fixture(scope="module")
def own():
    """A PostgreSQL, a Redis and an instance that these tests may stop."""
    directory = scratch()
    postgres, redis = Postgres(directory / "postgres"), Redis(directory / "redis")
    site = Site(directory, postgres, redis, "faults")
    site.setup()
    instance = AppInstance(site)
    yield postgres, redis, instance
    instance.stop()
    redis.stop()
    postgres.stop()


@pytest.fixture
def postgres(own):
    return own[0]


@pytest.fixture
def redis(own):
    return own[1]


@pytest.fixture
def instance(own):
    return own[2]


@pytest.fixture
def user(instance):
    return Client(instance).sign_in(ADMIN_EMAIL, ADMIN_PASSWORD)
