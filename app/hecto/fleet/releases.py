"""Releases on a host: making one current, serving its assets, removing old ones."""

import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hecto.fleet import state as states
from hecto.fleet.errors import UsageError
from hecto.fleet.layout import RELEASE_ID, Layout, move_link

# Beside the pinned ones and the current one: enough to go back twice without a build.
KEEP = 3

# Names assets by their hash; it has no hash itself and is the app's own business.
_MANIFEST = "manifest.json"


def require(layout: Layout, release: str) -> None:
    """Refuse a release that is not here: an instance pinned to it would never start."""
    if not RELEASE_ID.fullmatch(release):
        raise UsageError(f"{release!r} is no release id: one is 12 hexadecimal digits. See: ls {layout.releases}")
    if not (layout.release(release) / "release.json").is_file():
        raise UsageError(
            f"Release {release} is not on this host (nothing in {layout.release(release)}). "
            "Run the playbook site.yml, which brings it, or name one of: " + (", ".join(installed(layout)) or "none")
        )


def installed(layout: Layout) -> list[str]:
    """Ids of the complete releases on this host."""
    return sorted(path.parent.name for path in layout.releases.glob("*/release.json"))


@dataclass
class Activated:
    """What changed on the host, or would."""

    release: str
    moved: bool = False
    linked: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        return {
            "changed": bool(self.moved or self.linked or self.removed),
            "release": self.release,
            "moved": self.moved,
            "linked": self.linked,
            "removed": self.removed,
        }


def activate(layout: Layout, release: str, *, keep: int = KEEP, check: bool = False) -> Activated:
    """Make an unpacked release the one for the CLI and for instances to come; running ones keep theirs."""
    require(layout, release)
    kept = states.load(layout.fleet_state).releases
    done = Activated(release)
    # Assets first: a page of the new release must find them from its first answer on.
    done.linked = _link_assets(layout, release, check)
    done.moved = layout.current_release() != release
    if done.moved and not check:
        move_link(layout.current, layout.release(release))
    done.removed = prune(layout, {release, *kept}, keep, check=check)
    return done


def _link_assets(layout: Layout, release: str, check: bool) -> list[str]:
    """Hard links: the files live as long as any release that has them, and one left alone has a count of 1."""
    source = layout.release(release) / "static"
    linked = []
    for path in sorted(source.rglob("*")):
        name = path.relative_to(source)
        if not path.is_file() or name.name == _MANIFEST or (layout.static / name).exists():
            continue
        linked.append(str(name))
        if not check:
            (layout.static / name).parent.mkdir(parents=True, exist_ok=True)
            os.link(path, layout.static / name)
    return linked


def prune(layout: Layout, kept: set[str], keep: int, *, check: bool = False) -> list[str]:
    """Remove releases that nothing runs and that are too old to go back to, and the assets that only they had.

    The `keep` newest stay, the current one, each that an instance is pinned to, and those that are `kept` by name.
    """
    by_age = sorted(installed(layout), key=lambda name: _installed_at(layout.release(name)), reverse=True)
    needed = {*kept, layout.current_release(), *layout.pinned().values(), *by_age[:keep]}
    removed = [name for name in by_age if name not in needed]
    if not check:
        _remove_halves(layout)
    if removed and not check:
        for name in removed:
            # Without this file it is no release any more: half of one must never be started.
            (layout.release(name) / "release.json").unlink()
            shutil.rmtree(layout.release(name))
        for path in layout.static.rglob("*"):
            if path.is_file() and path.stat().st_nlink == 1:
                path.unlink()
    return removed


def _remove_halves(layout: Layout) -> None:
    """Remove what an interrupted removal has left: it would be in the way if the same release came again."""
    for path in layout.releases.iterdir():
        if RELEASE_ID.fullmatch(path.name) and not (path / "release.json").exists():
            shutil.rmtree(path)


def _installed_at(release: Path) -> float:
    # Every release is written once, at its installation; "built_at" would make a rollback's target look old.
    return (release / "release.json").stat().st_ctime
