"""Runbooks are read in a hurry: what they name must be there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
RUNBOOKS = sorted((ROOT / "docs/runbooks").glob("*.md"))
# Everything else is in the journal (docs/logs.md).
FILES = ("/var/log/hecto", "/var/log/nginx/access.json")


@pytest.mark.parametrize("page", RUNBOOKS, ids=lambda page: page.stem)
def test_a_runbook_names_logs_that_are_written(page: Path) -> None:
    assert [path for path in re.findall(r"/var/log/[\w./*-]*", page.read_text()) if not path.startswith(FILES)] == []


@pytest.mark.parametrize("page", RUNBOOKS, ids=lambda page: page.stem)
def test_a_runbook_leads_to_pages_that_are_there(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)", page.read_text()):
        assert (page.parent / target).exists(), target
