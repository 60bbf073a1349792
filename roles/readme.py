#!/usr/bin/env python3
"""Writes each role's README.md from its meta/argument_specs.yml; with --check it only says which are out of date.

Ansible itself checks a role's variables against that specification, so this documentation cannot be wrong about them.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

ROLES = Path(__file__).resolve().parent


def roles() -> list[Path]:
    """Find all roles, by name."""
    return sorted(file.parent.parent for file in ROLES.glob("*/meta/argument_specs.yml"))


def specification(role: Path) -> dict[str, Any]:
    """Read what a role says about its variables."""
    main: dict[str, Any] = yaml.safe_load((role / "meta/argument_specs.yml").read_text())["argument_specs"]["main"]
    return main


def render(role: Path) -> str:
    """Write the README of one role."""
    spec = specification(role)
    lines = [f"# {role.name}", "", _sentence(spec["short_description"]), ""]
    lines += [f"* {line}" for line in _texts(spec.get("description"))]
    lines += ["", "| variable | type | default | meaning |", "|---|---|---|---|"]
    lines += [f"| {' | '.join(cells)} |" for cells in _rows(spec.get("options", {}))]
    lines += ["", "Generated from `meta/argument_specs.yml` by `roles/readme.py`."]
    return "\n".join(lines) + "\n"


def _rows(options: dict[str, Any], prefix: str = "", defaults: Any = None) -> Iterator[tuple[str, str, str, str]]:
    """Rows of the table; the options inside a dictionary follow it, with their part of its default."""
    for name, option in options.items():
        inner = option.get("options", {})
        default = (defaults or {}).get(name) if prefix else option.get("default")
        if inner:
            shown = "see below"
        elif option.get("required") and not prefix:
            shown = "required"
        else:
            shown = _code(default)
        meaning = " ".join(_texts(option.get("description")))
        yield f"`{prefix}{name}`", _kind(option), _cell(shown), _cell(meaning)
        yield from _rows(inner, f"{prefix}{name}.", option.get("default"))


def _kind(option: dict[str, Any]) -> str:
    if "choices" in option:
        return ", ".join(f"`{choice}`" for choice in option["choices"])
    elements = f" of {option['elements']}" if "elements" in option else ""
    return f"{option.get('type', 'str')}{elements}"


def _code(value: Any) -> str:
    if value in (None, ""):
        return "empty"
    return f"`{value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}`"


def _texts(value: str | list[str] | None) -> list[str]:
    return [value] if isinstance(value, str) else list(value or [])


def _sentence(text: str) -> str:
    return text if text.endswith(".") else f"{text}."


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def main() -> int:
    """Write or check all READMEs."""
    parser = argparse.ArgumentParser(description="Write each role's README.md from its argument specification.")
    parser.add_argument("--check", action="store_true", help="write nothing, name those that are out of date")
    check = parser.parse_args().check
    stale = []
    for role in roles():
        readme = role / "README.md"
        text = render(role)
        if not readme.exists() or readme.read_text() != text:
            stale.append(readme)
            if not check:
                readme.write_text(text)
    for readme in stale:
        outcome = "is out of date; run: python3 roles/readme.py" if check else "is written"
        sys.stdout.write(f"{readme.relative_to(ROLES.parent)} {outcome}\n")
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
