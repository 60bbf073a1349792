"""An instance does not start beside a package that would take WebSockets over in gunicorn's gevent worker."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.servers import REPOSITORY, AppInstance, Site


@pytest.fixture
def beside(tmp_path: Path, site: Site):
    """Starts an instance beside a package of some name, which need not be one that works: gunicorn only looks."""

    def start(package: str) -> AppInstance:
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").write_text("raise AssertionError('nobody imports it')")
        return AppInstance(site, PYTHONPATH=f"{tmp_path}:{REPOSITORY / 'app'}")

    return start


def test_beside_gevent_websocket_no_instance_starts(beside):
    with pytest.raises(AssertionError) as refused:
        beside("geventwebsocket")
    said = str(refused.value)
    assert "ended" in said.splitlines()[0]
    assert "the package gevent-websocket is installed" in said
    assert "uninstall it" in said


def test_beside_another_package_one_does(beside):
    beside("something_else").stop()
