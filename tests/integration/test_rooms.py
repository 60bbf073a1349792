"""Rooms of records: who may enter, who else is there, and what instances are told about the members of a room."""

from __future__ import annotations

import json
import queue
import subprocess
import sys

import pytest
import socketio

from tests.integration.conftest import PASSWORD, Client
from tests.integration.talk import create, say
from tests.servers import wait_until


class Socket:
    """A client of the sort that does without recovery: its handlers get what was sent and nothing more."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.heard: queue.Queue = queue.Queue()
        self.ended = False
        self.io = socketio.Client(reconnection=False)
        self.io.on("*", lambda event, *data: self.heard.put((event, *data)))
        self.io.on("disconnect", self._end)
        auth = {"token": client.headers["Authorization"][7:], "recovery": False}
        self.io.connect(client.base, transports=["websocket"], auth=auth, wait_timeout=10)

    def _end(self, *_: object) -> None:
        self.ended = True

    def ask(self, what: str, room: object) -> dict:
        return self.io.call(what, room, timeout=10)

    def next(self, event: str, seconds: float = 5) -> dict:
        while True:
            name, data = self.heard.get(timeout=seconds)
            if name == event:
                return data

    def present(self) -> list[int]:
        """Whom the next word about a room's company names."""
        return [person["id"] for person in self.next("presence")["present"]]


@pytest.fixture
def connect():
    opened: list[Socket] = []

    def start(client: Client) -> Socket:
        opened.append(Socket(client))
        return opened[-1]

    yield start
    for each in opened:
        each.io.disconnect()


@pytest.fixture
def colleague(instances, admin):
    email = f"colleague{admin.create_task()['id']}@example.com"
    body = {"email": email, "name": "Colleague", "password": PASSWORD}
    assert admin.post("/api/users", json=body).status_code == 201
    return Client(instances[1]).sign_in(email, PASSWORD)


@pytest.fixture
def emit(site):
    """Send events from a process that is no instance, as workers and scripts do."""

    def send(*messages: tuple[str, str, dict]) -> None:
        script = (
            "import sys, json\n"
            "from hecto.core.outbox import Message\nfrom hecto.core.store import Store\n"
            "from hecto.realtime.stream import Stream\nfrom hecto.settings import load\n"
            "Stream(Store(load())).send([Message(*one) for one in json.loads(sys.argv[1])])\n"
        )
        command = [sys.executable, "-c", script, json.dumps(messages)]
        subprocess.run(command, env=site.environment(), check=True, timeout=30)

    return send


def test_whoever_sees_a_record_enters_its_room_and_leaves_it_again(member, connect, emit):
    task = f"task:{member.create_task()['id']}"
    socket = connect(member)
    assert socket.ask("join", task)["room"] == task
    emit((task, "seen", {"n": 1}))
    assert socket.next("seen") == {"n": 1}
    socket.ask("leave", task)
    emit((task, "seen", {"n": 2}), (f"user:{member.user_id}", "marker", {}))
    assert socket.next("marker") == {}
    assert all(name != "seen" for name, *_ in list(socket.heard.queue))


NO_ROOMS: list[object] = ["task:999999999", "task:0", "task:-1", "task:x", "task:", "task", "task:1:2", None, 5, {}, ""]
NO_ROOMS += ["user:1", "list:tasks", "session:x", "everybody", "elsewhere:1", "task:\u0661", "task:" + "9" * 30]
NO_ROOMS += ["x" * 10_000]


@pytest.mark.parametrize("room", NO_ROOMS, ids=lambda room: str(room)[:20])
def test_other_rooms_are_not_entered(member, connect, room):
    answer = connect(member).ask("join", room)
    assert answer["error"]["title"] == "There is no such room"


@pytest.fixture
def stranger(admin, instances):
    """Somebody without any permission."""
    email = f"stranger{admin.create_task()['id']}@example.com"
    made = admin.post("/api/users", json={"email": email, "name": "Stranger", "password": PASSWORD, "roles": []})
    assert made.status_code == 201, made.text
    return Client(instances[1]).sign_in(email, PASSWORD)


def test_whoever_may_not_see_tasks_enters_none_of_their_rooms(admin, connect, stranger):
    assert "error" in connect(stranger).ask("join", f"task:{admin.create_task()['id']}")


def test_one_client_is_in_a_bounded_number_of_rooms(member, connect):
    socket = connect(member)
    # Of its fifty rooms it is in five by what it is.
    for _ in range(45):
        assert "error" not in socket.ask("join", f"task:{member.create_task()['id']}")
    assert socket.ask("join", f"task:{member.create_task()['id']}")["error"]["title"] == "Too many rooms"


def test_those_who_look_at_a_record_know_of_each_other(member, colleague, connect):
    task = f"task:{member.create_task()['id']}"
    here = connect(member)
    assert [person["id"] for person in here.ask("join", task)["present"]] == [member.user_id]
    assert here.present() == [member.user_id]
    there = connect(colleague)
    both = sorted([member.user_id, colleague.user_id])
    assert sorted(person["id"] for person in there.ask("join", task)["present"]) == both
    assert sorted(here.present()) == both
    # A second window of the same person changes nothing, also when it is closed.
    again = connect(colleague)
    again.ask("join", task)
    again.io.disconnect()
    there.ask("leave", task)
    assert here.present() == [member.user_id]
    there.ask("join", task)
    assert sorted(here.present()) == both
    there.io.disconnect()
    assert here.present() == [member.user_id]


def test_members_of_a_room_are_moved_and_sent_away_from_anywhere(member, colleague, connect, emit):
    first, second = connect(member), connect(colleague)
    task = f"task:{member.create_task()['id']}"
    assert first.ask("join", task)["room"] == second.ask("join", task)["room"]
    other = f"task:{member.create_task()['id']}"
    emit((task, "!join", {"room": other}))
    wait_until(lambda: len(_heard_in(other, emit, first, second)) == 2, "both in the other room", seconds=5)
    emit((task, "!leave", {"user": member.user_id}))
    assert _heard_in(task, emit, first, second) == {second}
    emit((other, "!disconnect", {"user": colleague.user_id}))
    wait_until(lambda: second.ended, "the end of the one", seconds=5)
    assert _heard_in(other, emit, first, second) == {first}
    emit((other, "!disconnect", {}))
    wait_until(lambda: first.ended, "the end of the other", seconds=5)
    assert all(not name.startswith("!") for socket in (first, second) for name, *_ in list(socket.heard.queue))


def _heard_in(room: str, emit, *sockets: Socket) -> set[Socket]:
    """Which of the sockets hear what is said in a room; those that are still there hear the marker after it."""
    users = [(f"user:{socket.client.user_id}", "marker", {}) for socket in sockets]
    emit((room, "said", {}), *users)
    found = set()
    for socket in sockets:
        if not socket.ended:
            names = []
            while (name := socket.heard.get(timeout=5)[0]) != "marker":
                names.append(name)
            if "said" in names:
                found.add(socket)
    return found


def test_whoever_is_taken_out_of_a_private_channel_hears_nothing_more(member, colleague, connect):
    channel = create(member, colleague, private=True)
    socket = connect(colleague)
    assert "error" not in socket.ask("join", f"channel:{channel}")
    say(member, channel, "for both")
    assert socket.next("message.created")["text"] == "for both"
    gone = member.delete(f"/api/channels/{channel}/members/{colleague.user_id}")
    assert gone.status_code in (200, 204), gone.text
    say(member, channel, "for one")
    assert "error" in socket.ask("join", f"channel:{channel}")
    colleague.create_task("marker")
    while (heard := socket.heard.get(timeout=5))[0] != "task.created" or heard[1]["title"] != "marker":
        assert heard[0] != "message.created"


def test_a_word_that_cannot_be_obeyed_makes_no_instance_deaf(member, connect, emit):
    socket = connect(member)
    room = f"user:{member.user_id}"
    # Nobody said which room to join.
    emit((room, "!join", {"user": member.user_id}), (room, "note", {"n": 1}))
    assert socket.next("note") == {"n": 1}


def test_what_a_client_asks_is_done_in_its_order(member, connect, emit):
    task = f"task:{member.create_task()['id']}"
    socket = connect(member)
    for _ in range(20):
        socket.io.emit("join", task)
        socket.io.emit("leave", task)
    # The answer to this comes behind all of them.
    assert socket.ask("leave", task) == {}
    emit((task, "seen", {}), (f"user:{member.user_id}", "marker", {}))
    assert socket.next("marker") == {}
    assert all(name != "seen" for name, *_ in list(socket.heard.queue))


def test_many_rooms_asked_for_at_once_are_bounded_all_the_same(member, connect):
    tasks = [f"task:{member.create_task()['id']}" for _ in range(60)]
    socket = connect(member)
    answers: queue.Queue = queue.Queue()
    for task in tasks:
        socket.io.emit("join", task, callback=answers.put)
    refused = sum("error" in answers.get(timeout=10) for _ in tasks)
    # It is in five rooms by what it is.
    assert refused == 60 - 45


def test_a_public_channel_is_told_once_to_everybody_who_may_read_messages(
    member, somebody, colleague, stranger, connect, emit
):
    """And a private one to its members alone, at whichever instance they are."""
    invited = somebody("Invited")
    sockets = {who.user_id: connect(who) for who in (member, invited, colleague, stranger)}
    private, public = create(member, invited, private=True), create(member, invited)
    assert member.patch(f"/api/channels/{public}", json={"topic": "another"}).status_code == 200
    told = {number: [] for number in sockets}
    while ("channel.updated", public) not in told[colleague.user_id]:
        told[colleague.user_id].append(_of_a_channel(sockets[colleague.user_id].heard.get(timeout=5)))
    emit(*((f"user:{number}", "marker", {}) for number in sockets))
    for number, socket in sockets.items():
        while (heard := socket.heard.get(timeout=5))[0] != "marker":
            told[number].append(_of_a_channel(heard))
    of_public = [("channel.created", public), ("channel.updated", public)]
    assert told[colleague.user_id] == of_public
    assert told[member.user_id] == told[invited.user_id] == [("channel.created", private), *of_public]
    assert told[stranger.user_id] == []


def _of_a_channel(heard: tuple) -> tuple[str, int]:
    name, payload = heard
    return name, payload.get("id")
