"""Rules and dashboards are made of metrics that there are: a misspelt one would never fire, and show an empty panel."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[3]
DASHBOARDS = sorted((ROOT / "roles/monitoring/files/dashboards").glob("*.json"))
RULES = sorted((ROOT / "roles/monitoring/files/rules").glob("*.yml"))
# Names that a Prometheus had after it had asked every exporter of a site for a while, and those of services that one
# host has none of. Its first lines say how to make it anew.
KNOWN = {line for line in (Path(__file__).parent / "metrics.txt").read_text().split("\n") if line and line[0] != "#"}
MADE_HERE = {"ALERTS", "hecto:expected_standbys", "hecto:expected_backups", "hecto:expected_etcd"}
WORDS = re.compile(r"\b[a-zA-Z_][a-zA-Z0-9_:]*")
NO_METRICS = re.compile(
    r"\"(?:[^\"\\]|\\.)*\"|\$\w+|\b(?:by|on|without|group_left|ignoring)\s*\([^)]*\)|\{[^}]*\}|\[[^\]]*\]"
)
FUNCTIONS = {"sum", "avg", "min", "max", "count", "rate", "increase", "histogram_quantile", "topk", "vector", "time"}
FUNCTIONS |= {"absent", "abs", "predict_linear", "timestamp", "and", "or", "unless", "offset", "last_over_time"}


def expressions() -> dict[str, str]:
    found = {}
    for file in RULES:
        for group in yaml.safe_load(file.read_text())["groups"]:
            found |= {f"{file.stem}: {rule['alert']}": rule["expr"] for rule in group["rules"]}
    for file in DASHBOARDS:
        for panel in json.loads(file.read_text())["panels"]:
            found |= {f"{file.stem}: {panel['title']} {t['refId']}": t["expr"] for t in panel["targets"]}
    return found


def metrics(expression: str) -> set[str]:
    return set(WORDS.findall(NO_METRICS.sub(" ", expression))) - FUNCTIONS


def test_names_of_metrics_are_found_in_an_expression() -> None:
    expression = 'sum by (a, b) (rate(one_total{two="three"}[5m])) > 0.9 * on (c) group_left () four or vector(0)'
    assert metrics(expression) == {"one_total", "four"}


@pytest.mark.parametrize("name", expressions())
def test_metrics_exist(name: str) -> None:
    assert metrics(expressions()[name]) <= KNOWN | MADE_HERE


def test_prometheus_understands_every_panel(tmp_path: Path) -> None:
    """As rules, which promtool can check; Grafana's own words in them are replaced as Grafana would."""
    panels = [
        {"record": f"panel:{number}", "expr": expression.replace("$__rate_interval", "1m").replace("$host", ".*")}
        for number, expression in enumerate(expressions().values())
    ]
    file = tmp_path / "panels.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": panels}]}))
    program = shutil.which("promtool")
    assert program, "promtool is not here; ./hecto test installs it: the Debian package prometheus"
    done = subprocess.run([program, "check", "rules", file], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_site_that_nobody_uses_has_no_errors(tmp_path: Path) -> None:
    """Nothing divided by nothing is no number, and a panel without one looks broken."""
    expression = expressions()["overview: Share of errors A"].replace("$__rate_interval", "1m")
    series = [{"series": f'hecto_requests_total{{status="{status}"}}', "values": "7x20"} for status in (200, 500)]
    asked = {"expr": expression, "eval_time": "4m", "exp_samples": [{"labels": "{}", "value": 0}]}
    trial = {"tests": [{"interval": "15s", "input_series": series, "promql_expr_test": [asked]}]}
    file = tmp_path / "trial.yml"
    file.write_text(yaml.safe_dump(trial))
    program = shutil.which("promtool")
    assert program, "promtool is not here; ./hecto test installs it: the Debian package prometheus"
    done = subprocess.run([program, "test", "rules", file], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("file", DASHBOARDS, ids=lambda file: file.stem)
def test_a_dashboard_can_be_imported_anywhere(file: Path) -> None:
    dashboard: dict[str, Any] = json.loads(file.read_text())
    assert dashboard["uid"] == f"hecto-{file.stem}"
    assert dashboard["title"]
    assert dashboard["templating"]["list"][0]["type"] == "datasource"
    numbers = [panel["id"] for panel in dashboard["panels"]]
    assert len(numbers) == len(set(numbers)) > 0
    for panel in dashboard["panels"]:
        assert panel["datasource"]["uid"] == "${datasource}", panel["title"]
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24, panel["title"]
