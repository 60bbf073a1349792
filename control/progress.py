"""What a person sees: one line a step, with its seconds; and what a failed step prints."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

_terminal = threading.Lock()  # whose turn it is to write there
TAIL_LINES = 15  # enough for the error of apt, pip or Ansible with its context; the rest is in the log


class Failure(Exception):
    """A step that cannot go on: what happened, what to do, and where more is written."""

    def __init__(self, what: str, *, advice: str = "", log: Path | None = None, tail: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.advice = advice
        self.log = log
        self.tail = tail

    def render(self) -> str:
        """The failure as text for a terminal."""
        lines = [f"hecto: {self.what}"]
        if self.tail:
            lines += ["", *(f"    {line}" for line in self.tail.splitlines()), ""]
        if self.log:
            lines.append(f"  The whole log: {self.log}")
        if self.advice:
            lines.append(f"  What to do: {self.advice}")
        return "\n".join(lines)


def say(text: str = "") -> None:
    """Print a line for a person. It goes to stderr, so that stdout stays clean for --json and for pipes."""
    print(text, file=sys.stderr, flush=True)


class Step:
    """A running step. A terminal shows its seconds and latest note all the time, anything else only the result."""

    def __init__(self, title: str) -> None:
        self.title = title
        self._note = ""
        self._started = time.monotonic()
        self._done = threading.Event()
        self._live = sys.stderr.isatty()
        self._thread = threading.Thread(target=self._draw, daemon=True)

    def note(self, text: str) -> None:
        """Say what the step does at this moment."""
        self._note = text

    def __enter__(self) -> Step:
        if self._live:
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._done.set()
        if self._live:
            self._thread.join()
            sys.stderr.write("\r\033[K")
        mark = "ok  " if kind is None else "FAIL"
        say(f"  {mark} {self.title:<58} {self.seconds:6.1f} s")

    @property
    def seconds(self) -> float:
        """Seconds since the step began."""
        return time.monotonic() - self._started

    def _draw(self) -> None:
        while not self._done.wait(0.5):
            line = f"  ...  {self.title} {int(self.seconds)} s"
            if self._note:
                line += f" - {self._note}"
            with _terminal:
                sys.stderr.write(f"\r\033[K{line[:118]}")
                sys.stderr.flush()


@contextmanager
def undisturbed() -> Iterator[None]:
    """Keep steps from writing while somebody is asked something."""
    with _terminal:
        if sys.stderr.isatty():
            sys.stderr.write("\r\033[K")
        yield


@contextmanager
def step(title: str) -> Iterator[Step]:
    """Run a block as one step of progress."""
    with Step(title) as current:
        yield current


def tail(path: Path, lines: int = TAIL_LINES) -> str:
    """The last non-empty lines of a log."""
    try:
        text = path.read_text(errors="replace")
    except OSError:
        return ""
    return "\n".join([line.rstrip() for line in text.splitlines() if line.strip()][-lines:])
