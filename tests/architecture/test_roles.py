"""The roles keep their promises: documented, checked variables whose defaults are what the documentation says."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
ROLES = sorted(path.parent for path in (ROOT / "roles").glob("*/tasks"))


def _readme_generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("readme", ROOT / "roles/readme.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


readme = _readme_generator()


def _defaults(role: Path) -> dict[str, Any]:
    return yaml.safe_load((role / "defaults/main.yml").read_text()) or {}


def _tasks(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """All tasks, those inside blocks too."""
    found = []
    for entry in entries or []:
        found.append(entry)
        for part in ("block", "rescue", "always"):
            found += _tasks(entry.get(part, []))
    return found


def _all_tasks(role: Path) -> list[dict[str, Any]]:
    files = [*(role / "tasks").glob("**/*.yml"), *(role / "handlers").glob("*.yml")]
    return [task for file in files for task in _tasks(yaml.safe_load(file.read_text()))]


by_role = pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)


def test_there_are_roles() -> None:
    assert {"base", "postgres", "redis", "hecto", "nginx"} <= {role.name for role in ROLES}


@by_role
def test_defaults_and_specification_name_the_same_variables(role: Path) -> None:
    options = readme.specification(role)["options"]
    optional = {name for name, option in options.items() if not option.get("required")}
    assert set(_defaults(role)) == optional, "a required variable has no default, every other one has"


@by_role
def test_defaults_and_specification_give_the_same_values(role: Path) -> None:
    options = readme.specification(role)["options"]
    for name, value in _defaults(role).items():
        stated = options[name].get("default")
        assert (value, type(value)) == (stated, type(stated)), (
            f"{name}: defaults/main.yml and meta/argument_specs.yml disagree"
        )


@by_role
def test_every_variable_is_described_and_carries_the_name_of_its_role(role: Path) -> None:
    for name, option in readme.specification(role)["options"].items():
        assert name.startswith(f"{role.name}_"), f"{name} could belong to any role"
        assert option.get("type"), f"{name}: without a type a wrong value is found late"
        assert option.get("description"), f"{name}: what is it for?"


@by_role
def test_internal_variables_say_so(role: Path) -> None:
    internal = role / "vars/main.yml"
    names = set(yaml.safe_load(internal.read_text())) if internal.exists() else set()
    names |= {task["register"] for task in _all_tasks(role) if "register" in task}
    assert all(name.startswith(f"__{role.name}_") for name in names), (
        f"internal names start with __{role.name}_: {sorted(names)}"
    )


@by_role
def test_readme_is_up_to_date(role: Path) -> None:
    assert (role / "README.md").read_text() == readme.render(role), "run: python3 roles/readme.py"


@by_role
def test_secrets_stay_out_of_output(role: Path) -> None:
    """A task that names a password or a key to a host hides its output and its difference."""
    secret = re.compile(r"\b\w+_(password|secret_key|private_key)\b(?!_)")
    for task in _all_tasks(role):
        if any(part in task for part in ("block", "ansible.builtin.assert")):
            continue
        text = yaml.safe_dump(
            {key: value for key, value in task.items() if key not in ("name", "register", "when", "notify")}
        )
        if secret.search(text):
            assert task.get("no_log") is True, f"{role.name}: '{task['name']}' would show a secret: no_log: true"


@by_role
def test_nothing_hides_a_failure(role: Path) -> None:
    for task in _all_tasks(role):
        assert not task.get("ignore_errors"), f"{role.name}: '{task['name']}' ignores errors"
        assert task.get("failed_when") is not False, f"{role.name}: '{task['name']}' cannot fail"
