"""The alert rules: tried by promtool, with a way out for whoever gets one, and made of metrics that there are."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[3]
RULES = sorted((ROOT / "roles/monitoring/files/rules").glob("*.yml"))
TRIALS = Path(__file__).parent / "rules"
RUNBOOKS = ROOT / "docs/runbooks"
HEADINGS = ["## What it means", "## Look", "## Do", "## Over when"]


def alerts() -> dict[str, dict[str, Any]]:
    return {
        rule["alert"]: rule
        for file in RULES
        for group in yaml.safe_load(file.read_text())["groups"]
        for rule in group["rules"]
        if "alert" in rule
    }


every_alert = pytest.mark.parametrize("name", alerts())


def promtool(*words: object) -> None:
    program = shutil.which("promtool")
    assert program, "promtool is not here; ./hecto test installs it: the Debian package prometheus"
    done = subprocess.run([program, *map(str, words)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("file", RULES, ids=lambda file: file.stem)
def test_alerts_fire_when_they_should_and_not_before(file: Path) -> None:
    promtool("test", "rules", TRIALS / file.name)


@every_alert
def test_each_alert_is_tried(name: str) -> None:
    tried = "".join(file.read_text() for file in TRIALS.glob("*.yml"))
    assert f'alertname="{name}"' in tried


@every_alert
def test_each_alert_says_what_happened_and_leads_to_its_runbook(name: str) -> None:
    rule = alerts()[name]
    assert rule["labels"]["severity"] in {"critical", "warning", "none"}
    notes = rule["annotations"]
    assert set(notes) == {"summary", "description", "runbook_url"}
    assert notes["description"].endswith(".")
    assert notes["description"].count(". ") >= 1, "what happened is not enough: what does it mean, what is to be done?"
    assert notes["runbook_url"] == f"docs/runbooks/{name}.md"


@every_alert
def test_each_alert_has_a_runbook(name: str) -> None:
    lines = (RUNBOOKS / f"{name}.md").read_text().splitlines()
    assert lines[0] == f"# {name}"
    assert [line for line in lines if line.startswith("## ")] == HEADINGS


def test_each_runbook_has_an_alert() -> None:
    assert {file.stem for file in RUNBOOKS.glob("*.md")} - {"README"} == set(alerts())


def test_the_list_of_runbooks_is_whole() -> None:
    listed = re.findall(r"\]\((\w+)\.md\)", (RUNBOOKS / "README.md").read_text())
    assert sorted(listed) == sorted(alerts())
