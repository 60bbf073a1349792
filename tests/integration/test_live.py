"""Events reach those whom they concern on other instances."""

from __future__ import annotations

import concurrent.futures
import queue

import pytest
import socketio

from tests.integration.conftest import Client
from tests.servers import wait_until


class Listener:
    """A Socket.IO client that keeps what it hears."""

    def __init__(self, client: Client) -> None:
        self.heard: queue.Queue = queue.Queue()
        self.io = socketio.Client(reconnection=False)
        self.io.on("*", lambda event, *data: self.heard.put((event, *data)))
        token = client.headers["Authorization"][7:]
        self.io.connect(
            client.base, transports=["websocket"], auth={"token": token, "recovery": False}, wait_timeout=10
        )

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


@pytest.mark.parametrize(
    "missing", ["Connection", "Sec-WebSocket-Key", "Sec-WebSocket-Version"], ids=lambda name: f"no {name}"
)
def test_half_a_handshake_is_refused_with_a_problem(client, missing):
    handshake = {
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Version": "13",
    }
    headers = {**handshake, missing: None} if missing != "Connection" else {**handshake, "Connection": "close"}
    answer = client.get("/socket.io/?EIO=4&transport=websocket", headers=headers)
    assert (answer.status_code, answer.headers["Content-Type"]) == (400, "application/problem+json")
    assert answer.json()["status"] == 400


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
    assert not [event for event, *_ in listener.heard.queue if event.startswith("task.")]


def closed(listener: Listener) -> bool:
    return not listener.io.connected


def test_a_socket_ends_with_its_sign_in_on_every_instance(member, instances, listen):
    listener = listen(member.at(instances[1]))
    assert member.post("/api/auth/logout").status_code == 204
    listener.next("session.ended")
    wait_until(lambda: closed(listener), "the end of the socket", seconds=5)


def test_a_socket_ends_when_its_sign_in_runs_out(member, instances, listen, sql):
    sql(f"UPDATE user_session SET expires_at = now() + interval '2 s' WHERE user_id = {member.user_id}")
    listener = listen(member.at(instances[1]))
    wait_until(lambda: closed(listener), "the end of the socket", seconds=30)
    assert member.get("/api/me").status_code == 401


def test_an_account_that_is_made_inactive_hears_nothing_more(admin, member, instances, listen):
    listener = listen(member.at(instances[1]))
    user = admin.get(f"/api/users/{member.user_id}").json()
    admin.patch(f"/api/users/{member.user_id}", json={"version": user["version"], "active": False})
    wait_until(lambda: closed(listener), "the end of the socket", seconds=5)


def test_a_socket_comes_back_with_what_its_user_may_do_now(admin, member, instances, listen):
    there = member.at(instances[1])
    listener, witness = listen(there), listen(admin)
    user = admin.get(f"/api/users/{member.user_id}").json()
    admin.patch(f"/api/users/{member.user_id}", json={"version": user["version"], "roles": []})
    wait_until(lambda: closed(listener), "the end of the socket", seconds=5)
    again = listen(there)
    admin.create_task("secret")
    witness.next("task.created")
    assert not [event for event, *_ in again.heard.queue if event.startswith("task.")]


def test_changed_roles_count_at_once_on_every_instance(admin, member, instances):
    """Twenty times, while the other instance asks for the sign-in all the time."""
    there = member.at(instances[1])
    user = admin.get(f"/api/users/{member.user_id}").json()
    for number in range(20):
        roles = [] if number % 2 == 0 else ["member"]
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            asking = [pool.submit(there.get, "/api/me") for _ in range(8)]
            body = {"version": user["version"] + number, "roles": roles}
            answer = pool.submit(admin.patch, f"/api/users/{member.user_id}", json=body).result()
            assert answer.status_code == 200, answer.text
            assert [asked.result().status_code for asked in asking] == [200] * 8
        assert bool(there.get("/api/me").json()["permissions"]) is bool(roles)
