"""A terminal that is drawn on again and again, and is left as it was found."""

import os
import select
import shutil
import signal
import sys
import termios
import time
import tty
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from types import FrameType

from hecto.fleet.top.draw import Line, paint

_ENTER, _LEAVE = "\033[?1049h\033[?25l", "\033[?25h\033[?1049l"
Draw = Callable[[int, int], Sequence[Line]]


def is_terminal() -> bool:
    """Whether somebody looks, and the cursor can be moved."""
    return sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"


def colours() -> bool:
    """Whether colours are wanted (https://no-color.org)."""
    return is_terminal() and not os.environ.get("NO_COLOR")


class Screen:
    """The whole terminal, while it is ours."""

    def __init__(self, woken: int) -> None:
        self._woken = woken

    def draw(self, make: Draw) -> None:
        """Write a frame over the one before, in one piece, so that nothing flickers."""
        width, height = shutil.get_terminal_size()
        colour = colours()
        # Cleared before it is written: behind a line that fills the terminal, its last letter would be cleared.
        lines = ["\033[2K" + paint(line, width, colour) for line in make(width, height)[:height]]
        sys.stdout.write("\033[H" + "\r\n".join(lines) + "\033[J")
        sys.stdout.flush()

    def wait(self, seconds: float) -> str:
        """Wait for the next frame: `time` when it is due, `size` when the window has another size, `quit` by q."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            watched = [self._woken] + ([sys.stdin] if sys.stdin.isatty() else [])
            ready, _, _ = select.select(watched, [], [], left)
            if self._woken in ready:
                os.read(self._woken, 1000)
                return "size"
            if sys.stdin in ready:
                keys = os.read(sys.stdin.fileno(), 100)
                if not keys or b"q" in keys.lower():
                    return "quit"
        return "time"


@contextmanager
def screen() -> Iterator[Screen]:
    """Take the terminal, and give it back whatever ends this: q, Ctrl-C, a signal, an error."""
    before = termios.tcgetattr(sys.stdin) if sys.stdin.isatty() else None
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    handlers = {number: signal.signal(number, _end) for number in (signal.SIGTERM, signal.SIGHUP)}
    handlers[signal.SIGWINCH] = signal.signal(signal.SIGWINCH, lambda *_: None)
    old_wake = signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    try:
        if before:
            tty.setcbreak(sys.stdin)
        sys.stdout.write(_ENTER)
        yield Screen(woken)
    finally:
        # The terminal itself may have gone.
        with suppress(OSError):
            sys.stdout.write(_LEAVE)
            sys.stdout.flush()
        if before:
            with suppress(termios.error):
                termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)
        signal.set_wakeup_fd(old_wake)
        for number, handler in handlers.items():
            signal.signal(number, handler)
        os.close(woken)
        os.close(wake)


def _end(number: int, _: FrameType | None) -> None:
    raise SystemExit(128 + number)
