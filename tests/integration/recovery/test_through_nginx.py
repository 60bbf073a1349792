"""Recovery of the official client as it is in production: with nginx in between, which leads it where it belongs."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.integration.recovery.clients import BY_TRANSPORT, NodeClient


@pytest.fixture
def through_nginx(edge, clients, token) -> Callable[..., NodeClient]:
    """Connect a client of the member; one that changes to a WebSocket has done so."""

    def connected(transports: list[str], **options: object) -> NodeClient:
        client = clients.connected(edge.url, token, *transports, **options)
        if len(transports) > 1:
            assert client.wait_for("upgrade")["transport"] == "websocket"
        return client

    return connected


@BY_TRANSPORT
def test_what_was_missed_is_heard_once_and_before_connect(fleet, through_nginx, room, transports):
    client = through_nginx(transports)
    fleet.enter(client.id, "stage:nginx")
    fleet.count(room, 1)
    client.hears([1])
    before = {**client.connection, "recovered": True}
    client.leave()
    fleet.count(room, 2, at=1)
    fleet.count("stage:nginx", 3)
    fleet.count("everybody", 4)
    client.come_back()
    assert client.connection == before
    # Beside the numbers it hears who is there and who is not, whenever that comes.
    what = [report["what"] for report in client.reports if report.get("event", "number") == "number"]
    what = [each for each in what if each != "upgrade"]
    assert what[-5:] == ["disconnect", "event", "event", "event", "connect"]
    fleet.count("stage:nginx", 5)
    client.hears([1, 2, 3, 4, 5])


@BY_TRANSPORT
def test_a_client_that_has_heard_nothing_yet_misses_nothing(fleet, through_nginx, room, transports):
    client = through_nginx(transports)
    before = {**client.connection, "recovered": True}
    client.leave()
    fleet.count(room, 1, 2)
    client.come_back()
    assert client.connection == before
    client.hears([1, 2])


@BY_TRANSPORT
@pytest.mark.parametrize("wrong", [{"pid": "foo"}, {"offset": "foo"}], ids=["pid", "offset"])
def test_a_wrong_word_begins_a_new_session(fleet, through_nginx, room, transports, wrong):
    client = through_nginx(transports)
    fleet.count(room, 1)
    client.hears([1])
    before = client.connection
    client.leave()
    fleet.count(room, 2)
    client.come_back(**wrong)
    after = client.connection
    assert not after["recovered"]
    assert after["id"] != before["id"]
    assert after["pid"] not in (before["pid"], "foo")
    fleet.count(room, 3)
    client.hears([1, 3])


def test_a_connection_that_ends_without_a_word_is_recovered(fleet, through_nginx, room):
    client = through_nginx(["websocket"], reconnection=True)
    fleet.count(room, 1)
    client.hears([1])
    client.do("kill")
    fleet.count(room, 2)
    assert client.wait_for("connect", 2)["recovered"]
    fleet.count(room, 3)
    client.hears([1, 2, 3])
