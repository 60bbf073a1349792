"""Events reach those whom they concern on other instances."""

from __future__ import annotations

import queue

import pytest
import socketio

from tests.integration.conftest import Client


class Listener:
    """A Socket.IO client that keeps what it hears."""

    def __init__(self, client: Client) -> None:
        self.heard: queue.Queue = queue.Queue()
        self.io = socketio.Client(reconnection=False)
        self.io.on("*", lambda event, *data: self.heard.put((event, *data)))
        token = client.headers["Authorization"][7:]
        self.io.connect(client.base, transports=["websocket"], auth={"token": token}, wait_timeout=10)

    def next(self, event: str) -> dict:
        """The next event of this name; fails after five seconds."""
        while True:
            name, data = self.heard.get(timeout=5)
            if name == event:
                return data


@pytest.fixture
def listen():
    opened: list[Listener] = []

    def start(client: Client) -> Listener:
        opened.append(Listener(client))
        return opened[-1]

    yield start
    for listener in opened:
        listener.io.disconnect()


def test_created_and_updated_reach_the_other_instance(member, instances, listen):
    listener = listen(member.at(instances[1]))
    task = member.create_task("seen elsewhere")
    event = listener.next("task.created")
    assert (event["id"], event["version"], event["title"]) == (task["id"], 1, "seen elsewhere")
    member.patch(f"/api/tasks/{task['id']}", json={"version": 1, "status": "done"})
    assert listener.next("task.updated")["version"] == 2


def test_a_failed_change_is_not_announced(member, instances, listen):
    listener = listen(member.at(instances[1]))
    task = member.create_task()
    assert member.patch(f"/api/tasks/{task['id']}", json={"version": 7, "title": "never"}).status_code == 409
    marker = member.create_task("marker")
    assert listener.next("task.created")["id"] == task["id"]
    assert listener.heard.get(timeout=5)[1]["id"] == marker["id"]


def test_health_counts_websockets_and_users(member, instances, listen):
    elsewhere = member.at(instances[1])
    before = elsewhere.get("/api/health").json()["connections"]["websockets"]
    listen(elsewhere)
    answer = elsewhere.get("/api/health").json()
    assert answer["connections"]["websockets"] == before + 1
    assert answer["connections"]["activeUsers"] >= 1


@pytest.mark.parametrize("auth", [None, {}, {"token": "x"}, {"token": 5}, "x", ["x"]])
def test_without_a_sign_in_there_is_no_connection(instance, auth):
    io = socketio.Client(reconnection=False)
    with pytest.raises(socketio.exceptions.ConnectionError):
        io.connect(instance.url, transports=["websocket"], auth=auth, wait_timeout=5)


def test_those_who_may_not_see_tasks_hear_nothing(admin, member, instances, listen, sql):
    user = admin.get(f"/api/users/{member.user_id}").json()
    admin.patch(f"/api/users/{member.user_id}", json={"version": user["version"], "roles": []})
    listener = listen(member.at(instances[1]))
    witness = listen(admin)
    admin.create_task("secret")
    witness.next("task.created")
    assert listener.heard.empty()
