"""Releases, pins, secrets and the lock: files that must never be half-made."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from hecto.fleet import secrets
from hecto.fleet.errors import LockedError, UsageError
from hecto.fleet.layout import Layout, move_link
from hecto.fleet.lock import exclusive
from hecto.fleet.releases import activate
from tests.unit.fleet.conftest import NEW, OLD

Make = Callable[..., str]


def test_activating_moves_current_and_links_assets(layout: Layout, release: Make) -> None:
    release(OLD, assets=("app-1.js",))
    release(NEW, assets=("app-2.js",))
    assert activate(layout, OLD).as_json() == {
        "changed": True,
        "release": OLD,
        "moved": True,
        "linked": ["app-1.js"],
        "removed": [],
    }
    assert not activate(layout, OLD).as_json()["changed"]
    assert activate(layout, NEW, check=True).linked == ["app-2.js"]
    assert layout.current_release() == OLD
    activate(layout, NEW)
    assert layout.current_release() == NEW
    # A browser may still ask for what the last page named. The manifest is no asset.
    assert sorted(path.name for path in layout.static.iterdir()) == ["app-1.js", "app-2.js"]


def test_old_releases_go_but_never_one_that_is_pinned(layout: Layout, release: Make) -> None:
    ids = [f"{number:012x}" for number in range(1, 7)]
    for release_id in ids:
        release(release_id, assets=(f"app-{release_id}.js",))
    layout.pin(1, ids[0])
    done = activate(layout, ids[5], keep=2)
    assert sorted(done.removed) == ids[1:4]
    assert sorted(path.name for path in layout.releases.iterdir()) == [ids[0], ids[4], ids[5]]
    assert {path.name for path in layout.static.iterdir()} == {f"app-{ids[5]}.js"}
    assert activate(layout, ids[5], keep=2).removed == []


def test_assets_of_removed_releases_go_with_them(layout: Layout, release: Make) -> None:
    first, second = release(OLD, assets=("app-1.js",)), release(NEW, assets=("app-2.js",))
    activate(layout, first)
    activate(layout, second, keep=1)
    assert [path.name for path in layout.static.iterdir()] == ["app-2.js"]


def test_current_is_there_at_every_moment(layout: Layout, release: Make) -> None:
    targets = [layout.release(release(OLD)), layout.release(release(NEW))]
    move_link(layout.current, targets[0])
    missing = []
    done = threading.Event()

    def look() -> None:
        while not done.is_set():
            if not (layout.current / "release.json").exists():
                missing.append(1)

    looking = threading.Thread(target=look)
    looking.start()
    for turn in range(500):
        move_link(layout.current, targets[turn % 2])
    done.set()
    looking.join()
    assert missing == []


def test_secrets_are_written_once_and_only_for_root(layout: Layout) -> None:
    wanted = {"secret-key": "k" * 32, "redis-password": "p"}
    assert sorted(secrets.write(layout.secrets, wanted, check=True)) == ["redis-password", "secret-key"]
    assert (layout.secrets / "secret-key").read_text() == "first"
    assert sorted(secrets.write(layout.secrets, wanted)) == ["redis-password", "secret-key"]
    assert {path.name: path.read_text() for path in layout.secrets.iterdir()} == wanted
    assert {path.stat().st_mode & 0o777 for path in layout.secrets.iterdir()} == {0o600}
    assert secrets.write(layout.secrets, wanted) == []
    (layout.secrets / "secret-key").chmod(0o644)
    assert secrets.write(layout.secrets, wanted) == ["secret-key"]


@pytest.mark.parametrize("wrong", [{"secret-key": ""}, {"../passwd": "x"}, {"secret-key": None}])
def test_no_secret_is_written_when_one_is_wrong(layout: Layout, wrong: dict[str, str]) -> None:
    with pytest.raises(UsageError):
        secrets.write(layout.secrets, {"redis-password": "p"} | wrong)
    assert [path.name for path in layout.secrets.iterdir()] == ["secret-key"]


HOLDER = """
import pathlib, sys, time
from hecto.fleet.lock import exclusive
with exclusive(pathlib.Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(layout: Layout) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(layout.lock)],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "SUDO_USER": "ada"},
    )
    assert process.stdout
    assert process.stdout.readline() == "held\n"
    return process


def test_two_runs_exclude_each_other_until_the_first_ends_however_it_ends(
    layout: Layout, holder: subprocess.Popen[str]
) -> None:
    says = rf"ada since 20\d\d-.* \(process {holder.pid}: .*Nothing was changed"
    with pytest.raises(LockedError, match=says), exclusive(layout.lock):
        pass
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    with exclusive(layout.lock):
        pass


def test_the_lock_is_no_link_to_somewhere_else(layout: Layout, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    layout.lock.symlink_to(victim)
    with pytest.raises(OSError, match="symbolic link"), exclusive(layout.lock):
        pass
    assert victim.read_text() == "precious"
