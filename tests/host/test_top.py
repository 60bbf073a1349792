"""./hecto top on a real host: as JSON, in a pipe, and drawn in a terminal that is left as it was found."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.host.conftest import REPOSITORY, Hecto

WIDTH, HEIGHT = 80, 24
ENTER, LEAVE = b"\x1b[?1049h", b"\x1b[?1049l"
SHOW_CURSOR = b"\x1b[?25h"


def test_one_snapshot_tells_of_everything_on_the_host(hecto: Hecto, fleet: Callable[[], dict[str, Any]]) -> None:
    done = hecto("top", "--json")
    assert done.returncode == 0, done.stderr
    now = json.loads(done.stdout)
    status = fleet()
    assert now["fleet"]["release"] == status["release"]
    assert {row["name"] for row in now["fleet"]["instances"]} == {row["name"] for row in status["instances"]}
    assert now["fleet"]["ready"] == now["fleet"]["wanted"] == len(status["instances"])
    for row in now["fleet"]["instances"]:
        assert row["memory"] > 10_000_000
        assert row["requests"] is not None
        assert row["cpu"] is not None
    # As PostgreSQL's superuser, through its socket, and as the user of the application in Redis.
    assert (now["postgres"]["state"], now["redis"]["state"]) == ("up", "up")
    who = {group["who"] for group in now["postgres"]["sessions"]}
    assert who & {row["name"] for row in now["fleet"]["instances"]}
    assert now["postgres"]["transactions"] is not None
    assert now["postgres"]["slow"] is not None, "statements are counted on a real host"
    assert now["redis"]["aof"] == "ok"
    assert 0 < now["machine"]["memory"]["available"] < now["machine"]["memory"]["total"]
    assert 0 < now["machine"]["disk"]["used"] < 1


def test_in_a_pipe_it_is_one_look_without_colours(hecto: Hecto) -> None:
    done = hecto("top")
    assert done.returncode == 0, done.stderr
    assert "\x1b" not in done.stdout
    for part in (" host ", " fleet ", " postgres ", " redis ", " instance-1 "):
        assert part in done.stdout


class Terminal:
    """`./hecto top` in a terminal of its own."""

    def __init__(self, **environment: str) -> None:
        self.master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", HEIGHT, WIDTH, 0, 0))
        self.before = termios.tcgetattr(slave)
        self.slave = slave
        self.process = subprocess.Popen(
            [REPOSITORY / "hecto", "top"],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
            # The terminal must be the program's own, or Ctrl-C in it would reach nobody.
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # noqa: PLW1509  nothing here has threads
            env={**os.environ, "TERM": "xterm-256color", **environment},
        )
        self.written = b""

    def read_until(self, done: Callable[[bytes], bool], seconds: float = 30) -> bytes:
        """What was written so far, once it is enough."""
        deadline = time.monotonic() + seconds
        while not done(self.written):
            assert time.monotonic() < deadline, self.written[-3000:].decode(errors="replace")
            if select.select([self.master], [], [], 0.2)[0]:
                try:
                    self.written += os.read(self.master, 65536)
                except OSError:  # nobody has the other side open any more
                    break
        return self.written

    def frames(self) -> list[list[str]]:
        """The whole frames so far, each as its lines without their styles."""
        parts = self.written.split(b"\x1b[H")[1:]
        whole = [part.split(b"\x1b[J")[0].decode() for part in parts if b"\x1b[J" in part]
        return [[re.sub(r"\x1b\[[0-9;]*[mK]", "", line.rstrip("\r")) for line in frame.split("\n")] for frame in whole]

    def key(self, key: bytes) -> None:
        os.write(self.master, key)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
        os.close(self.master)
        os.close(self.slave)


@pytest.fixture
def terminal() -> Iterator[Callable[..., Terminal]]:
    found: list[Terminal] = []

    def make(**environment: str) -> Terminal:
        found.append(Terminal(**environment))
        return found[-1]

    yield make
    for one in found:
        one.close()


@pytest.mark.parametrize("key", [b"q", b"\x03"], ids=["q", "Ctrl-C"])
def test_a_frame_fits_the_terminal_is_drawn_again_and_leaves_it_clean(
    terminal: Callable[..., Terminal], key: bytes
) -> None:
    screen = terminal()
    # Drawn more than once after the host has told of itself.
    screen.read_until(lambda written: written.count(b" postgres ") >= 3 and written.endswith(b"\x1b[J"))
    frame = screen.frames()[-1]
    assert len(frame) <= HEIGHT
    assert max(len(line) for line in frame) <= WIDTH
    text = "\n".join(frame)
    for part in (
        "q quits",
        " host ",
        " fleet ",
        " of 4 ready",
        " instance-1 ",
        " postgres ",
        " redis ",
        "  instances ",
    ):
        assert part in text, text
    screen.key(key)
    assert screen.process.wait(20) == 0
    written = screen.read_until(lambda written: LEAVE in written)
    assert written.index(ENTER) < written.index(LEAVE)
    assert SHOW_CURSOR in written[written.rindex(b"\x1b[J") :]
    assert b"Traceback" not in written
    assert termios.tcgetattr(screen.slave) == screen.before


def test_without_colours_where_they_are_not_wanted(terminal: Callable[..., Terminal]) -> None:
    screen = terminal(NO_COLOR="1")
    written = screen.read_until(lambda written: b" postgres " in written)
    screen.key(b"q")
    assert screen.process.wait(20) == 0
    assert not re.search(rb"\x1b\[[0-9;]*m", written)
