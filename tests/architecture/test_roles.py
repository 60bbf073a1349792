"""The roles keep their promises: documented, checked variables whose defaults are what the documentation says."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.plugins import load

ROOT = Path(__file__).resolve().parents[2]
ROLES = sorted(path.parent for path in (ROOT / "roles").glob("*/tasks"))


readme = load("roles/readme.py")


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


@by_role
def test_what_systemd_will_read_is_checked_before_it_is_in_place(role: Path) -> None:
    for task in _all_tasks(role):
        template = task.get("ansible.builtin.template", {})
        # systemd has a check for units; for its other files it has none.
        if str(template.get("dest", "")).startswith("/etc/systemd/system/"):
            assert "hecto_unit_check" in template.get("validate", ""), f"{role.name}: '{task['name']}'"


@by_role
def test_what_an_interrupted_run_leaves_is_found_again(role: Path) -> None:
    """Handlers are forgotten with the run that was cut before them; files and units tell the next one."""
    if (role / "handlers/main.yml").exists():
        looks = (role / "vars/main.yml").read_text() + "".join(file.read_text() for file in (role / "tasks").glob("*"))
        assert "hecto_stale" in looks or "NeedDaemonReload" in looks


@by_role
def test_packages_wait_for_the_lock(role: Path) -> None:
    for task in _all_tasks(role):
        if "ansible.builtin.apt" in task:
            assert task["ansible.builtin.apt"].get("lock_timeout") == 300, f"{role.name}: '{task['name']}'"


def test_no_statement_and_no_lock_outlives_nginx_s_patience() -> None:
    """A request that nginx repeats must find the locks of its first attempt free."""
    patience = _seconds(_defaults(ROOT / "roles/nginx")["nginx_read_timeout"])
    postgres = {
        name: _seconds(str(value)) for name, value in _defaults(ROOT / "roles/postgres").items() if _time(value)
    }
    lock, statement = postgres["postgres_lock_timeout"], postgres["postgres_statement_timeout"]
    idle, gone = postgres["postgres_idle_in_transaction_timeout"], postgres["postgres_client_check_interval"]
    assert lock < statement < patience
    assert idle + gone < patience


def test_a_restart_of_the_pooler_ends_within_what_instances_wait() -> None:
    """It waits for sessions of owners, which have no end, and gives nobody a connection meanwhile."""
    unit = (ROOT / "roles/pgbouncer/templates/confine.conf.j2").read_text()
    (stop,) = re.findall(r"^TimeoutStopSec=(\d+)s$", unit, re.MULTILINE)
    # Between their three attempts they wait about four seconds and a half, at the least a quarter less.
    assert int(stop) < 3


def test_each_name_is_said_once() -> None:
    """What two roles must agree on comes from one place."""
    inventory = yaml.safe_load((ROOT / "inventory/defaults.yml").read_text())
    for variable, source in (
        ("postgres_database", "hecto_database_name"),
        ("hecto_database_port", "postgres_port"),
        ("base_open_tcp_ports", "nginx_http_port, nginx_https_port"),
    ):
        assert source in inventory[variable]
    for template in (ROOT / "roles/hecto/templates").glob("*"):
        assert "hecto_app\n" not in template.read_text()
        assert "hecto_owner\n" not in template.read_text()


def test_verifiers_stay_out_of_the_statistics_of_statements() -> None:
    statements = (ROOT / "roles/postgres/templates/roles.sql.j2").read_text()
    assert statements.index("SET pg_stat_statements.track_utility = off") < statements.index("PASSWORD '")


def test_a_certificate_gets_the_names_that_come_later() -> None:
    tasks = {task["name"]: task for task in _all_tasks(ROOT / "roles/nginx")}
    asking = tasks["Certbot | Ask for the certificate"]
    assert "--renew-with-new-domains" in str(asking["ansible.builtin.command"]["argv"])
    due = tasks["Certbot | Get the certificate that is due"]
    assert asking in _tasks(due["block"])
    assert "__nginx_certbot_due" in due["when"]
    variables = yaml.safe_load((ROOT / "roles/nginx/vars/main.yml").read_text())
    assert "__nginx_certified_names | sort != __nginx_names | sort" in variables["__nginx_certbot_due"]


def test_the_rest_of_a_removed_release_is_in_nobody_s_way() -> None:
    names = [task["name"] for task in _tasks(yaml.safe_load((ROOT / "roles/hecto/tasks/unpack.yml").read_text()))]
    assert names.index("Unpack | Make room") == names.index("Unpack | Move it into place") - 1


def test_drop_ins_of_exporters_get_their_place_behind_the_packages() -> None:
    """The package of the node exporter removes every empty directory below /etc/systemd/system."""
    names = [task["name"] for task in _tasks(yaml.safe_load((ROOT / "roles/exporters/tasks/main.yml").read_text()))]
    assert names.index("Install the exporters") < names.index("Make room for drop-ins")


def test_what_is_rendered_keeps_its_order() -> None:
    """Ansible's filters of sets forget the order, and another one in each run is a change of every file with it."""
    said = re.findall(
        r"\| (?:difference|intersect|union|symmetric_difference)\(", (ROOT / "inventory/defaults.yml").read_text()
    )
    assert said == [], "select or reject with 'in' keep the order"


def test_kernel_parameters_are_read_last() -> None:
    # Debian's /usr/lib/sysctl.d/99-protect-links.conf sets some of them to less.
    path = Path(yaml.safe_load((ROOT / "roles/base/vars/main.yml").read_text())["__base_sysctl"])
    assert path.name > "99-protect-links.conf"


def _time(value: Any) -> bool:
    return bool(re.fullmatch(r"\d+(ms|s)", str(value)))


def _seconds(text: str) -> float:
    number, unit = re.fullmatch(r"(\d+)(ms|s)", text).groups()  # type: ignore[union-attr]
    return int(number) / (1000 if unit == "ms" else 1)
