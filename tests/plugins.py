"""Python files that are no part of a package, such as Ansible's plugins, loaded by their path as Ansible loads them."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parents[1]


def load(path: str | Path) -> ModuleType:
    """The module in a file; `path` may be relative to the project."""
    file = ROOT / path
    spec = importlib.util.spec_from_file_location(f"plugin_{file.stem}", file)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
