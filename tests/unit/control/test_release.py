"""The name of a release, and what counts as its source."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from control import assets, image, release


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "app" / "hecto").mkdir(parents=True)
    (tmp_path / "app" / "hecto" / "wsgi.py").write_text("app = 1\n")
    (tmp_path / "app" / "requirements.txt").write_text("flask==3.1.3\n")
    monkeypatch.setattr(assets, "ROOT", tmp_path)
    monkeypatch.setattr(release, "APP", tmp_path / "app")
    recipe = tmp_path / "release.sh"
    recipe.write_text("set -eu\n")
    monkeypatch.setattr(release, "RECIPE", recipe)
    return tmp_path / "app"


def test_the_same_sources_have_the_same_name(app: Path) -> None:
    name = release.release_id("trixie")
    assert len(name) == 12
    (app / "hecto" / "wsgi.py").touch()
    assert release.release_id("trixie") == name


@pytest.mark.parametrize("changed", ["hecto/wsgi.py", "requirements.txt", "../release.sh", "hecto/new.py"])
def test_a_change_of_what_goes_in_is_another_release(app: Path, changed: str) -> None:
    before = release.release_id("trixie")
    (app / changed).write_text("something else\n")
    assert release.release_id("trixie") != before


def test_what_a_build_leaves_behind_is_no_source(app: Path) -> None:
    before = release.release_id("trixie")
    for name in ("hecto/__pycache__/wsgi.pyc", "frontend/node_modules/x.js", "hecto/static/dist/app.js"):
        (app / name).parent.mkdir(parents=True, exist_ok=True)
        (app / name).write_text("built\n")
    assert release.release_id("trixie") == before


def test_suites_have_releases_of_their_own(app: Path) -> None:
    assert release.release_id("trixie") != release.release_id("bookworm")


def test_a_change_of_the_recipe_is_another_image(monkeypatch: pytest.MonkeyPatch) -> None:
    base, build = image.base_image("trixie"), image.build_image("trixie")
    monkeypatch.setattr(image, "BASE_PACKAGES", (*image.BASE_PACKAGES, "less"))
    assert image.base_image("trixie") != base
    assert image.build_image("trixie") != build


def test_what_root_has_built_belongs_to_the_one_who_builds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Marking it as used is the first thing that the next run does."""
    as_root: list[list[str]] = []
    monkeypatch.setattr(release, "CACHE", tmp_path)
    monkeypatch.setattr(release, "BUILT", tmp_path / "built")
    (tmp_path / "built").mkdir()
    monkeypatch.setattr(release, "podman", lambda *words: list(words))
    monkeypatch.setattr(release, "as_root", lambda words: as_root.append([str(word) for word in words]) or ["true"])
    artifact = tmp_path / "releases" / "hecto-a.tar.zst"
    artifact.parent.mkdir()
    staged = artifact.parent / ".building-a" / "release.tar.zst"
    monkeypatch.setattr(release, "run", lambda *_, **__: staged.write_text("built"))
    release._build("a", "trixie", "image", artifact)
    assert ["chown", f"{os.getuid()}:{os.getgid()}", str(staged)] in as_root
    assert artifact.read_text() == "built"
