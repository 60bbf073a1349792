"""An instance that does not hear what is said to it notices, says that it is not ready, and listens anew."""

from __future__ import annotations

import pytest
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


@pytest.mark.parametrize(("known", "told"), [("60", False), ("0", True)], ids=["a moment", "longer than is kept"])
def test_who_did_not_hear_for_longer_than_events_are_kept_says_so(site, member, known, told):
    instance = AppInstance(
        site, app="tests.integration.echo:app", PYTHONPATH=f"{REPOSITORY / 'app'}:{REPOSITORY}", ECHO_KNOWN=known
    )
    try:
        socket = Socket(member.at(instance))
        assert requests.get(f"{instance.url}/cut", timeout=5).status_code == 204
        tasks = [member.create_task(f"told {number}")["id"] for number in range(20)]
        if told:
            assert socket.next("missed") == {}
        else:
            assert [socket.next("task.created")["id"] for _ in tasks] == tasks
            assert all(name != "missed" for name, *_ in list(socket.heard.queue))
        socket.io.disconnect()
    finally:
        instance.stop()
