"""Releases for tests: a copy with one change, which is another release and otherwise builds as ours does."""

from __future__ import annotations

import ast
import subprocess
from pathlib import Path

import pytest

from control.progress import Failure
from control.release import release_id
from control.variant import KINDS, variant

NAME = "from control.release import release_id; print(release_id('trixie'))"


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_a_release_of_its_own(kind: str, tmp_path: Path) -> None:
    tree = variant(kind, tmp_path)
    for file in (tree / "app" / "hecto").rglob("*.py"):
        ast.parse(file.read_text())
    environment = {"PYTHONPATH": str(tree), "PATH": "/usr/bin:/bin"}
    named = subprocess.run(
        ["python3", "-P", "-c", NAME], env=environment, capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert named.stdout.strip() != release_id("trixie")
    assert (tree / "hecto").stat().st_mode & 0o100


def test_an_unknown_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Failure, match="no kind"):
        variant("shiny", tmp_path)
