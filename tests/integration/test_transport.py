"""Engine.io over our WebSocket and over long polling: nothing is dropped, nothing is kept, whatever a client does."""

from __future__ import annotations

import json
import os
import random
import re
import resource
import socket
import struct
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

from tests.integration.conftest import Client
from tests.integration.peer import Peer
from tests.servers import REPOSITORY, AppInstance, Redis, Site, wait_until
from tests.unit.realtime.frames import BINARY, CLOSE, PING, TEXT, closing, masked

POLLING = "/socket.io/?EIO=4&transport=polling"
WEBSOCKET = "/socket.io/?EIO=4&transport=websocket"
SEPARATOR = "\x1e"


@pytest.fixture(scope="module", params=["1"])
def echo(site: Site, admin: Client, request: pytest.FixtureRequest) -> Iterator[AppInstance]:
    environment = {
        "PYTHONPATH": f"{REPOSITORY / 'app'}:{REPOSITORY}",
        "ECHO_PING": request.param,
        # One person opens a thousand connections here.
        "HECTO_REQUESTS_PER_MINUTE": "100000",
    }
    found = AppInstance(site, app="tests.integration.echo:app", **environment)
    # What is made for the first of something stays: connections to PostgreSQL and Redis, the sweep.
    here = admin.at(found)
    with ThreadPoolExecutor(20) as many:
        assert all(answer.ok for answer in many.map(here.get, ["/api/tasks?q=warm", "/api/health"] * 40))
    signed_in(found, str(admin.headers["Authorization"])[7:]).close()
    yield found
    found.stop()
    log = found.log.read_text()
    assert "Traceback" not in log, log[log.index("Traceback") - 500 :][:6000]


@pytest.fixture
def token(member: Client) -> str:
    return str(member.headers["Authorization"])[7:]


def held(echo: AppInstance) -> dict[str, int]:
    return requests.get(f"{echo.url}/held", timeout=10).json()


@pytest.fixture
def goes_back(echo: AppInstance) -> Iterator[None]:
    """When the test is over, the instance holds no more than before it."""
    held(echo)
    before = held(echo)
    yield
    after: dict[str, int] = {}

    def is_back() -> bool:
        after.update(held(echo))
        return all(after[name] <= before[name] for name in before)

    try:
        wait_until(is_back, "what it holds", seconds=15)
    except AssertionError:
        raise AssertionError(f"it holds {after}, and held {before} before") from None


class Session:
    """A session by long polling, signed in."""

    def __init__(self, echo: AppInstance, token: str) -> None:
        self.http = requests.Session()
        self.echo = echo
        opened = self.http.get(echo.url + POLLING, timeout=10)
        self.sid = json.loads(opened.text[1:])["sid"]
        self.url = f"{echo.url}{POLLING}&sid={self.sid}"
        assert self.post("40" + json.dumps({"token": token})).status_code == 200
        assert self.get()[0].startswith("40{")

    def post(self, *packets: str) -> requests.Response:
        return self.http.post(self.url, data=SEPARATOR.join(packets).encode(), timeout=10)

    def get(self) -> list[str]:
        """The packets of one answer; pings are answered and left out."""
        while True:
            answer = self.http.get(self.url, timeout=10)
            assert answer.status_code == 200, answer.text
            packets = answer.text.split(SEPARATOR)
            if "2" in packets:
                assert self.post("3").status_code == 200
            if others := [packet for packet in packets if packet != "2"]:
                return others

    def hear(self, count: int) -> list[object]:
        """What was said, until there is so much of it."""
        found: list[object] = []
        while len(found) < count:
            found += [json.loads(packet[2:])[1] for packet in self.get() if packet.startswith('42["said"')]
        return found


def say(content: object) -> str:
    return "42" + json.dumps(["say", content])


def signed_in(echo: AppInstance, token: str) -> Peer:
    peer = Peer(5000 + echo.number, WEBSOCKET)
    assert next_packet(peer).startswith("0{")
    peer.text("40" + json.dumps({"token": token}))
    assert next_packet(peer).startswith("40{")
    return peer


def next_packet(peer: Peer) -> str:
    """The next packet; pings of engine.io are answered and left out."""
    while True:
        found = peer.frame()
        assert found is not None, "the connection ended"
        if found[1] == b"2":
            peer.text("3")
        elif found[0] == TEXT:
            return found[1].decode()


def said_over(peer: Peer, count: int) -> list[object]:
    found: list[object] = []
    while len(found) < count:
        packet = next_packet(peer)
        if packet.startswith('42["said"'):
            found.append(json.loads(packet[2:])[1])
    return found


def test_a_client_that_pauses_gets_every_frame_whole(echo: AppInstance, goes_back: None) -> None:
    peer = Peer(5000 + echo.number, "/echo", receive_buffer=4096)
    contents = [os.urandom(16_384) for _ in range(300)]
    for content in contents:
        peer.send(masked(BINARY, content))
    time.sleep(1.5)
    assert [peer.frame() for _ in contents] == [(BINARY, content) for content in contents]
    peer.close()


def test_a_client_that_does_not_read_is_cut_off_and_nobody_waits_for_it(
    echo: AppInstance, token: str, goes_back: None
) -> None:
    slow = Peer(5000 + echo.number, "/echo?backlog=200000", receive_buffer=4096)
    slow.socket.settimeout(1)
    content = os.urandom(16_384)
    with pytest.raises(OSError, match=r"reset|pipe|timed out"):
        # More than the backlog and all buffers of the kernel hold.
        slow.socket.sendall(masked(BINARY, content) * 2_000)
    other = signed_in(echo, token)
    other.text(say("still here"))
    assert said_over(other, 1) == ["still here"]
    other.close()
    slow.socket.settimeout(10)
    # What it gets in the end are whole frames of what was sent, and then the end.
    assert set(slow.listen().messages) <= {(BINARY, content)}
    slow.close()


def test_clients_that_are_gone_without_a_word_leave_nothing(echo: AppInstance, token: str, goes_back: None) -> None:
    peers = [signed_in(echo, token) for _ in range(20)]
    assert held(echo)["sessions"] >= 20
    # None of them answers a ping; that they are still connected makes them half-open, as behind a network that is gone.
    wait_until(lambda: held(echo)["sessions"] == 0, "sessions to time out", seconds=10)
    for peer in peers:
        peer.close()


def test_who_never_says_who_he_is_is_sent_away(echo: AppInstance, goes_back: None) -> None:
    """Or nobodies that answer pings could take every place."""
    peer = Peer(5000 + echo.number, WEBSOCKET)
    pings = 0
    while (found := peer.frame()) is not None and found[0] == TEXT:
        if found[1] == b"2":
            pings += 1
            peer.text("3")
        assert pings < 5
    assert pings == 1
    peer.close()


def test_polling_clients_that_are_gone_leave_nothing(echo: AppInstance, token: str, goes_back: None) -> None:
    for _ in range(10):
        Session(echo, token)
    wait_until(lambda: held(echo)["sessions"] == 0, "sessions to time out", seconds=10)


def test_a_thousand_packets_in_one_request_are_all_taken(echo: AppInstance, token: str, goes_back: None) -> None:
    session = Session(echo, token)
    assert session.post(*(say(number) for number in range(1000))).status_code == 200
    assert session.hear(1000) == list(range(1000))
    session.post("1")


@pytest.mark.parametrize(
    "payload", ["", "x", f"4{SEPARATOR}", "b!", "\ud800", "b", "4", "42[", '42["connect"]', "42" + "[" * 40_000]
)
def test_a_malformed_request_ends_its_session(echo: AppInstance, token: str, payload: str, goes_back: None) -> None:
    session = Session(echo, token)
    data = payload.encode("utf-8", "surrogatepass")
    answer = session.http.post(session.url, data=data, timeout=10)
    if payload:
        assert answer.status_code == 400
        assert session.http.get(session.url, timeout=10).status_code == 400
    else:
        assert answer.status_code == 200
        session.post("1")


def test_a_change_to_a_websocket_loses_and_repeats_nothing(echo: AppInstance, token: str, goes_back: None) -> None:
    session = Session(echo, token)
    assert session.post(*(say(number) for number in range(5))).status_code == 200
    before = session.hear(5)
    peer = Peer(5000 + echo.number, f"{WEBSOCKET}&sid={session.sid}")
    peer.text("2probe")
    assert peer.frame() == (TEXT, b"3probe")
    # Said while nobody can hear it: the request is answered with nothing, and the WebSocket is not there yet.
    assert session.post(*(say(number) for number in range(5, 10))).status_code == 200
    assert session.get() == ["6"]
    peer.text("5")
    peer.text(say(10))
    assert before + said_over(peer, 6) == list(range(11))
    assert session.post(say(11)).status_code == 400
    peer.text("1")
    assert peer.listen().code in (1000, 1001)
    peer.close()


def test_a_change_that_never_ends_goes_with_its_session(echo: AppInstance, token: str, goes_back: None) -> None:
    session = Session(echo, token)
    peer = Peer(5000 + echo.number, f"{WEBSOCKET}&sid={session.sid}")
    peer.text("2probe")
    assert peer.frame() == (TEXT, b"3probe")
    # Nobody polls and nobody answers pings any more, so there is nobody to say farewell to.
    assert peer.listen().farewell is None
    peer.close()


@pytest.mark.parametrize("instead", ["", "2", "x", say("too early")])
def test_a_change_that_fails_leaves_the_session_as_it_was(
    echo: AppInstance, token: str, instead: str, goes_back: None
) -> None:
    session = Session(echo, token)
    peer = Peer(5000 + echo.number, f"{WEBSOCKET}&sid={session.sid}")
    if instead:
        peer.text(instead)
    else:
        peer.send(closing(1000))
    peer.listen()
    peer.close()
    assert session.post(say("still polling")).status_code == 200
    assert session.hear(1) == ["still polling"]
    session.post("1")


def test_the_end_is_said_and_answered(echo: AppInstance, token: str, goes_back: None) -> None:
    peer = signed_in(echo, token)
    peer.send(masked(CLOSE, struct.pack(">H", 1000)))
    assert peer.listen().code == 1000
    peer.close()
    broken = signed_in(echo, token)
    broken.text("x")
    assert broken.listen().code == 1002
    broken.close()
    large = signed_in(echo, token)
    large.send(masked(TEXT, b"4" * 100_001))
    assert large.listen().code == 1009
    large.close()


def test_a_room_is_heard_where_somebody_is_in_it_and_nowhere_else(
    echo: AppInstance, member: Client, token: str, redis_server: Redis, goes_back: None
) -> None:
    channel = f"hecto:events:user:{member.user_id}"

    def hearing() -> list[str]:
        return redis_server.ask("PUBSUB", "NUMSUB", channel).split()

    assert hearing() == [channel, "0"]
    peers = [signed_in(echo, token) for _ in range(3)]
    # Three sockets here, and two more instances that have none.
    assert hearing() == [channel, "1"]
    for peer in peers:
        peer.close()
    wait_until(lambda: hearing() == [channel, "0"], "the room to be left", seconds=10)
    again = signed_in(echo, token)
    assert hearing() == [channel, "1"]
    task = member.create_task("heard again", assignee_id=member.user_id)
    while not (packet := next_packet(again)).startswith('42["task.created"'):
        continue
    assert json.loads(packet[2:])[1]["id"] == task["id"]
    again.close()


def test_no_extension_is_agreed_on(echo: AppInstance) -> None:
    peer = Peer(5000 + echo.number, "/echo", more="Sec-WebSocket-Extensions: permessage-deflate\r\n")
    assert not re.search("(?i)sec-websocket-extensions", peer.head)
    peer.close()


def _noise(chance: random.Random) -> bytes:
    """A packet that is wrong in one of many ways, as a frame; some are right."""
    words = [
        "0",
        "1",
        "2",
        "3",
        "4",
        "5",
        "6",
        "40",
        "41",
        "42",
        "43",
        "44",
        "45",
        "46",
        "b",
        '["say",1]',
        "[",
        "{",
        '"',
        "1-",
        "9",
    ]
    kinds: list[Callable[[], bytes]] = [
        lambda: masked(TEXT, "".join(chance.choices(words, k=chance.randint(0, 6))).encode()),
        lambda: masked(chance.choice((TEXT, BINARY)), chance.randbytes(chance.randint(0, 200))),
        lambda: masked(TEXT, say("x" * chance.randint(0, 300)).encode(), final=chance.random() < 0.7),
        lambda: masked(
            chance.randint(0, 15), chance.randbytes(chance.randint(0, 130)), reserved=chance.choice((0, 0, 1))
        ),
        lambda: masked(PING, chance.randbytes(3)),
        lambda: chance.randbytes(chance.randint(1, 30)),
    ]
    return chance.choice(kinds)()


@pytest.mark.timeout(240)
def test_ten_thousand_packets_of_noise_leave_nothing(echo: AppInstance, token: str, goes_back: None) -> None:
    seed = random.randrange(1_000_000)
    chance = random.Random(seed)
    sent = 0
    while sent < 10_000:
        peer = signed_in(echo, token) if chance.random() < 0.5 else Peer(5000 + echo.number, WEBSOCKET)
        count = chance.randint(1, 40)
        for _ in range(count):
            peer.send(_noise(chance))
        sent += count
        peer.close()
    other = signed_in(echo, token)
    other.text(say("well"))
    assert said_over(other, 1) == ["well"], f"after the noise of seed {seed}"
    other.close()


@pytest.mark.timeout(240)
@pytest.mark.parametrize("echo", ["20"], indirect=True)
def test_a_storm_of_two_thousand_reconnects(
    echo: AppInstance, admin: Client, member: Client, token: str, goes_back: None
) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with ThreadPoolExecutor(50) as many:
        for _ in range(2):
            # All at once, twice: those of the first time are gone without a word when those of the second come.
            peers = list(many.map(lambda _: signed_in(echo, token), range(1000)))
            task = admin.create_task("told to a thousand", assignee_id=member.user_id)
            heard = list(many.map(lambda peer: [told(peer), told(peer)], peers))
            assert heard == [[task["id"]] * 2] * len(peers), "once as one of the list, once as the assignee"
            for peer in peers:
                peer.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                peer.close()
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def told(peer: Peer) -> int:
    """The task that the next event is about."""
    while not (packet := next_packet(peer)).startswith('42["task.'):
        continue
    return int(json.loads(packet[2:])[1]["id"])
