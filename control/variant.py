"""Releases for tests, a few lines different from the present sources: one that works, and some that must be refused.

python3 -m control.variant "never ready"    prints the directory whose ./hecto release builds it
"""

from __future__ import annotations

import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from control.assets import BUILT, IGNORED
from control.progress import Failure
from control.shell import locked, output
from control.site import CACHE, ROOT

PARTS = ("app", "control", "hecto", "requirements.txt")


@dataclass(frozen=True)
class Kind:
    """What is added at the end of a file, or as a new one."""

    file: str
    text: str


WSGI = "app/hecto/wsgi.py"
# The next number that no migration of ours has: the name only has to sort behind all of them.
MIGRATION = '''"""Take away what everybody uses."""

from alembic import op

revision, down_revision = "9999", "{head}"


def upgrade() -> None:
    op.execute("ALTER TABLE task RENAME COLUMN title TO name")
'''
KINDS = {
    "next": Kind(WSGI, "# The same again: a release is named by its content.\n"),
    "does not import": Kind(WSGI, 'raise ImportError("this release is broken on purpose")\n'),
    "never ready": Kind("app/hecto/gunicorn_conf.py", "def post_worker_init(worker: Any) -> None:\n    pass\n"),
    "answers 500": Kind(
        "app/hecto/modules/tasks/queries.py",
        "def tasks_json(session: Session, query: Any) -> bytes:\n"
        '    raise RuntimeError("this release is broken on purpose")\n',
    ),
    "hurts the schema": Kind("app/hecto/migrations/versions/9999_rename.py", MIGRATION),
}


def variant(kind: str, directory: Path = CACHE / "variants") -> Path:
    """A copy of the sources with one change. Its builds use the caches of this checkout, so they take seconds."""
    if kind not in KINDS:
        raise Failure(f"there is no kind '{kind}' of a release", advice=f"use one of: {', '.join(KINDS)}")
    tree = directory / kind.replace(" ", "-")
    with locked(CACHE / "lock" / f"variant-{tree.name}", "copies the sources"):
        shutil.rmtree(tree, ignore_errors=True)
        _copy(tree)
        file = tree / KINDS[kind].file
        before = f"{file.read_text()}\n\n" if file.exists() else ""
        head = sorted(file.parent.glob("[0-9]*_*.py"))[-1].name.split("_")[0] if not before else ""
        file.write_text(before + KINDS[kind].text.replace("{head}", head))
    return tree


def _copy(tree: Path) -> None:
    # What git knows or would take, so that nothing that lies about here gets into a release there.
    listed = output(["git", "-C", ROOT, "ls-files", "--cached", "--others", "--exclude-standard", "-z", *PARTS])
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file() and not IGNORED & set(Path(name).parts):
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, tree / name)
    for shared in (BUILT, ROOT / "app" / "frontend" / "node_modules", CACHE):
        there = tree / shared.relative_to(ROOT)
        there.parent.mkdir(parents=True, exist_ok=True)
        there.symlink_to(shared)


if __name__ == "__main__":
    print(variant(sys.argv[1]))
