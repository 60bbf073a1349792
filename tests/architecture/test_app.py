"""Rules of the code base that a reader may rely on."""

from __future__ import annotations

import ast
import subprocess
import tomllib
from pathlib import Path

import pytest

from hecto import application, settings
from hecto.application import ROUTERS, UNDECLARED, create_app
from hecto.core.endpoints import ENDPOINTS as ENDPOINTS_BY_NAME
from hecto.core.endpoints import Router
from hecto.core.permissions import PUBLIC
from hecto.migrations.migrate import metadata

REPOSITORY = Path(__file__).parents[2]
TRACKED = subprocess.run(["git", "ls-files"], cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout.split()
SOURCES = [name for name in TRACKED if name.endswith((".py", ".js", ".yml", ".j2", ".html", ".sh")) or name == "hecto"]
LOCKED = ("package-lock.json",)
ENDPOINTS = [endpoint for router in ROUTERS for endpoint in router.endpoints]


@pytest.mark.parametrize("name", SOURCES)
def test_files_are_short(name):
    path = REPOSITORY / name
    if path.exists():
        assert len(path.read_text().splitlines()) <= 400


def test_only_signing_in_is_public():
    public = {(endpoint.method, endpoint.path) for endpoint in ENDPOINTS if endpoint.permission == PUBLIC}
    assert public == {
        ("POST", "/api/auth/login"),
        ("POST", "/api/auth/refresh"),
        ("GET", "/sign-in"),
        ("POST", "/sign-in"),
    }


@pytest.fixture
def found(tmp_path):
    """Settings that need nothing to be there."""
    for name in ("database-password", "redis-password", "secret-key"):
        (tmp_path / name).write_text("k" * 64)
    return settings.load({"CREDENTIALS_DIRECTORY": str(tmp_path)})


def test_a_route_beside_the_declarations_stops_the_start(found, monkeypatch):
    leaky = Router("leaky", "api")
    leaky.blueprint.add_url_rule("/api/leak", "leak", lambda: "for anybody")
    monkeypatch.setattr(application, "ROUTERS", (*ROUTERS, leaky))
    with pytest.raises(LookupError, match=r"/api/leak \(leaky_api.leak\) declares no permission"):
        create_app(found)


def test_every_route_declares_its_permission(found):
    app = create_app(found)
    routes = {rule.endpoint for rule in app.url_map.iter_rules()}
    assert routes - set(app.extensions[ENDPOINTS_BY_NAME]) == UNDECLARED
    for name, endpoint in app.extensions[ENDPOINTS_BY_NAME].items():
        # What Flask calls is the pipeline, which checks what was declared, and nothing that took its place.
        assert app.view_functions[name].__qualname__.startswith("_pipeline."), endpoint.path


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda endpoint: f"{endpoint.method} {endpoint.path}")
def test_views_are_short_and_leave_the_session_to_services(endpoint):
    source = Path(endpoint.view.__code__.co_filename).read_text()
    tree = ast.parse(source)
    view = next(
        node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and node.name == endpoint.view.__name__
    )
    assert view.end_lineno - view.body[0].lineno < 15
    called = {
        node.func.attr for node in ast.walk(view) if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
    }
    assert not called & {"add", "execute", "scalar", "scalars", "flush", "commit"}


@pytest.mark.parametrize("lower", ["users", "tasks"])
def test_the_contracts_leave_other_modules_a_service_and_queries_alone(lower):
    contracts = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    forbidden = next(
        contract["forbidden_modules"]
        for contract in contracts
        if contract["name"] == f"higher modules use {lower} only through service and queries"
    )
    files = {path.stem for path in (REPOSITORY / "app/hecto/modules" / lower).glob("*.py")}
    private = files - {"__init__", "service", "queries"}
    assert sorted(forbidden) == sorted(f"hecto.modules.{lower}.{name}" for name in private)


@pytest.mark.parametrize("path", sorted((REPOSITORY / "app/hecto/modules").glob("*/service.py")), ids=str)
def test_services_never_commit(path):
    assert ".commit(" not in path.read_text()


@pytest.mark.parametrize("table", metadata().sorted_tables, ids=lambda table: table.name)
def test_tables_say_what_they_are(table):
    assert table.comment
    assert all(constraint.name for constraint in table.constraints)


def test_only_the_clock_asks_for_the_time():
    for name in SOURCES:
        # The fleet tool is a program of its own, without the app's core.
        exempt = name == "app/hecto/core/clock.py" or name.startswith("app/hecto/fleet/")
        if name.startswith("app/hecto/") and name.endswith(".py") and not exempt:
            text = (REPOSITORY / name).read_text()
            for forbidden in ("datetime.now(", "datetime.utcnow(", "date.today("):
                assert forbidden not in text, f"{name} uses {forbidden}"
