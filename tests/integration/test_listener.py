"""An instance that does not hear what is said to it notices, says that it is not ready, and listens anew."""

from __future__ import annotations

import requests

from tests.integration.test_rooms import Socket
from tests.servers import REPOSITORY, AppInstance, wait_until


def test_a_deaf_instance_is_not_ready_until_it_hears_again(site, member):
    instance = AppInstance(site, app="tests.integration.echo:app", PYTHONPATH=f"{REPOSITORY / 'app'}:{REPOSITORY}")
    try:
        socket = Socket(member.at(instance))

        def state() -> str:
            return requests.get(f"{instance.url}/api/ready", timeout=5).json()["state"]

        assert state() == "ready"
        assert requests.get(f"{instance.url}/deafen", timeout=5).status_code == 204
        wait_until(lambda: state() == "deaf", "word that it is deaf", seconds=5)
        wait_until(lambda: state() == "ready", "the end of it", seconds=5)
        task = member.create_task("heard again")
        assert socket.next("task.created")["id"] == task["id"]
        socket.io.disconnect()
    finally:
        instance.stop()
