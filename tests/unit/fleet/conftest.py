"""A host in a directory: releases, settings, secrets, and a supervisor of real processes."""

import json
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hecto.fleet.host import Host, Patience
from hecto.fleet.layout import Layout
from tests.unit.fleet.processes import Processes

OLD, NEW, BROKEN, UNREADY = "aaaaaaaaaaaa", "bbbbbbbbbbbb", "cccccccccccc", "dddddddddddd"
QUICK = Patience(ready=10, drain=0.6, websockets=0.2, canary=0.5)


@pytest.fixture
def layout() -> Iterator[Layout]:
    # The path of a unix socket has at most 107 characters, and pytest's own directories may be longer.
    root = Path(tempfile.mkdtemp(prefix="fleet-"))
    found = Layout(
        root / "opt", root / "run", root / "var", root / "etc", root / "credentials", root / "lock", root / "log"
    )
    for directory in (found.releases, found.static, found.run / "control", found.pins, found.secrets):
        directory.mkdir(parents=True)
    found.environment.write_text(f'# settings\nHECTO_RUN_DIRECTORY="{found.run}"\nHECTO_DATABASE_POOL="4"\n')
    (found.config / "unit").write_text("[Service]\n")
    (found.secrets / "secret-key").write_text("first")
    yield found
    shutil.rmtree(root)


@pytest.fixture
def release(layout: Layout) -> Callable[..., str]:
    def make(release_id: str, behaviour: str = "", assets: tuple[str, ...] = ()) -> str:
        directory = layout.release(release_id)
        (directory / "static").mkdir(parents=True, exist_ok=True)
        for name in (*assets, "manifest.json"):
            (directory / "static" / name).write_text(f"{name} of {release_id}")
        (directory / "release.json").write_text(json.dumps({"id": release_id, "behaviour": behaviour}))
        return release_id

    return make


@pytest.fixture
def processes(layout: Layout, release: Callable[..., str]) -> Iterator[Processes]:
    release(OLD)
    release(NEW)
    release(BROKEN, "ends")
    release(UNREADY, "never ready")
    supervisor = Processes(layout)
    yield supervisor
    supervisor.close()


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def host(layout: Layout, processes: Processes, said: list[str]) -> Host:
    return Host(layout, processes, QUICK, said.append)
