"""The browser's part of the product: bundled from app/frontend into app/hecto/static/dist."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

from control import packages
from control.progress import Failure, Step
from control.shell import locked, run
from control.site import CACHE, ROOT

FRONTEND = ROOT / "app" / "frontend"
BUILT = ROOT / "app" / "hecto" / "static" / "dist"
# Neither source nor worth a new release.
IGNORED = {"node_modules", "dist", "__pycache__", "build", ".mypy_cache", ".pytest_cache", ".ruff_cache"}


def sources(directory: Path) -> list[Path]:
    """All files below a directory that count as source, in a stable order."""
    found: list[Path] = []
    for entry in sorted(directory.iterdir()):
        if entry.name in IGNORED or entry.name.endswith((".egg-info", ".pyc", "~", ".swp")):
            continue
        if entry.is_dir():
            found += sources(entry)
        elif entry.is_file():
            found.append(entry)
    return found


def fingerprint(files: Iterable[Path], *extra: str) -> str:
    """A name for what these files say: the same content has the same name, wherever and whenever."""
    digest = hashlib.sha256()
    for part in extra:
        digest.update(f"{part}\0".encode())
    for file in files:
        content = hashlib.sha256(file.read_bytes()).hexdigest()
        digest.update(f"{file.relative_to(ROOT)}\0{content}\n".encode())
    return digest.hexdigest()


def ensure_assets(step: Step) -> None:
    """Bundle scripts and styles, unless what is there was made from the same sources."""
    with locked(CACHE / "lock" / "assets", "builds the browser's scripts"):
        wanted = fingerprint(sources(FRONTEND))
        stamp = CACHE / "assets"
        if (BUILT / "manifest.json").exists() and stamp.exists() and stamp.read_text() == wanted:
            return
        packages.install(packages.for_releases())
        log = CACHE / "log" / "assets.log"
        _ensure_modules(log, step)
        step.note("npm run build")
        run(
            ["npm", "run", "--silent", "build"],
            cwd=FRONTEND,
            log=log,
            advice="the message above names the source file at fault",
        )
        if not (BUILT / "manifest.json").exists():
            raise Failure(
                f"npm run build ended well but left no {BUILT / 'manifest.json'}",
                log=log,
                advice="see app/frontend/build.js",
            )
        stamp.write_text(wanted)


def _ensure_modules(log: Path, step: Step) -> None:
    lock = FRONTEND / "package-lock.json"
    wanted = hashlib.sha256(lock.read_bytes()).hexdigest()
    stamp = FRONTEND / "node_modules" / ".made-from"
    if stamp.exists() and stamp.read_text() == wanted:
        return
    step.note("npm ci")
    advice = "look whether npm reaches its registry from here: npm ping; npm's own configuration is honoured"
    run(["npm", "ci", "--no-audit", "--no-fund"], cwd=FRONTEND, log=log, advice=advice)
    stamp.write_text(wanted)
