"""The migrations give exactly the tables that the models describe, and the app role may only use them."""

from __future__ import annotations

import json

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine
from sqlalchemy.engine import URL

from hecto.migrations.migrate import metadata
from tests.servers import Postgres, Site


@pytest.fixture
def engine(site: Site, postgres: Postgres):
    url = URL.create("postgresql+psycopg2", "postgres", database=site.database, query={"host": str(postgres.directory)})
    engine = create_engine(url)
    yield engine
    engine.dispose()


def test_models_and_migrations_agree(site, engine):
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": False})
        differences = [difference for difference in compare_metadata(context, metadata()) if describe(difference)]
    assert differences == []


def describe(difference) -> bool:
    """Leave out the table that Alembic keeps for itself."""
    return not (difference[0] == "remove_table" and difference[1].name == "alembic_version")


def test_setup_twice_changes_nothing(site):
    assert json.loads(site.setup("--check"))["changed"] is False
    assert json.loads(site.setup())["changed"] is False


def test_the_app_role_cannot_change_the_schema(site, postgres):
    for statement in (
        "DROP TABLE task",
        "CREATE TABLE mine (id int)",
        "ALTER TABLE task ADD COLUMN x int",
        "TRUNCATE task",
    ):
        with pytest.raises(AssertionError, match=r"permission denied|must be owner"):
            postgres.sql(site.database, f"SET ROLE hecto_app; {statement}")
