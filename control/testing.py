"""./hecto test: run the stages one after the other, to the end, and leave no host behind."""

from __future__ import annotations

import math
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import TextIO

from control import host, packages
from control.progress import Failure, say
from control.shell import locked
from control.site import CACHE, CLUSTER_HOSTS, ROOT, Site, load_site
from control.stages import STAGES, TEST_CLUSTER, TEST_SITES, Command, Stage, full_environment
from control.tools import ensure_tools

LOG = CACHE / "log" / "test"
# For all stages together, however long each may take by itself: about 70 on two idle cores, and a machine
# that others use as well gets some more.
ALL_MINUTES = 85
GRACE_SECONDS = 30  # for a stopped program to clean up behind itself
_PYTEST_FAILED = re.compile(r"^(?:FAILED|ERROR) tests/")
_PYTEST_END = re.compile(r"^=+ .*\b(?:passed|failed|error|errors|skipped|no tests ran)\b.* in [\d.]+s.* =+$")


@dataclass
class Result:
    """How a stage went."""

    stage: Stage
    seconds: float = 0.0
    failed: list[str] = field(default_factory=list)
    closing: list[str] = field(default_factory=list)


def run_tests(names: Sequence[str], *, fast: bool, keep: bool) -> int:
    """Run the chosen stages, all by default. Returns 0 when every one passed."""
    chosen = [stage for stage in STAGES if (stage.name in names if names else not (fast and stage.needs_host))]
    with locked(CACHE / "lock" / "test", "runs the tests"), _interruptible():
        ensure_tools()
        hosts = any(stage.needs_host for stage in chosen)
        if hosts:
            packages.install(packages.for_hosts() + packages.for_releases())
            remove_test_hosts()
        try:
            end = time.monotonic() + ALL_MINUTES * 60
            results = [run_stage(stage, end) for stage in chosen]
        finally:
            if hosts and not keep:
                remove_test_hosts()
    return sum_up(results)


def remove_test_hosts() -> None:
    """Remove the hosts that tests make, also those that an interrupted run left."""
    for name in TEST_SITES:
        site = _named(name)
        try:
            host.remove_hosts(site, anyones=True)
        except Failure as failure:
            say(failure.render())


def _named(name: str) -> Site:
    kept = {key: os.environ.pop(key) for key in list(os.environ) if key.startswith("HECTO_") and key != "HECTO_PYTHON"}
    try:
        # Said here: where the site's own word is gone, its hosts may still be there.
        return load_site(name, size=CLUSTER_HOSTS if name == TEST_CLUSTER else None)
    finally:
        os.environ.update(kept)


def run_stage(stage: Stage, end: float = math.inf) -> Result:
    """Run all programs of a stage, until its own time or that of the whole run is up.

    Where they share a host, the first failure ends it.
    """
    say(f"\n== {stage.name}: {stage.about}")
    result = Result(stage)
    started = time.monotonic()
    end = min(end, started + stage.minutes * 60)
    log = LOG / f"{stage.name}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w") as sink:
        try:
            for command in stage.commands():
                shown = Path(command.words[0]).name + " " + " ".join(command.words[1:])
                left = end - time.monotonic()
                if left <= 0:
                    result.failed.append(f"{shown} (not begun: no time is left)")
                    break
                code, lines = _follow(command, sink, left)
                result.closing += [line for line in lines if _PYTEST_FAILED.match(line) or _PYTEST_END.match(line)]
                if code != 0:
                    result.failed.append(f"{shown} (exit code {code}, log {log})")
                    if stage.needs_host:
                        break  # what follows needs what has just failed
        except Failure as failure:
            say(failure.render())
            result.failed.append(failure.what)
    result.seconds = time.monotonic() - started
    say(f"== {stage.name}: {'FAILED' if result.failed else 'passed'} in {result.seconds:.0f} s")
    return result


def _follow(command: Command, sink: TextIO, limit: float) -> tuple[int, list[str]]:
    """Run one program with its output on the terminal and in the log; end it with all its children when time is up."""
    shown = Path(command.words[0]).name + " " + " ".join(command.words[1:])
    print(f"$ {shown}", flush=True)
    process = subprocess.Popen(
        command.words,
        cwd=ROOT,
        env=full_environment(command),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    previous = signal.signal(signal.SIGALRM, lambda *_: _end(process))
    signal.setitimer(signal.ITIMER_REAL, max(limit, 1.0))
    lines: list[str] = []
    try:
        for line in process.stdout or ():
            sys.stdout.write(line)
            sys.stdout.flush()
            sink.write(line)
            lines.append(line.rstrip())
        return process.wait(), lines
    except BaseException:
        _end(process)
        process.wait()
        raise
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)
        sink.flush()


def _end(process: subprocess.Popen[str]) -> None:
    """End a program and everything it started."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
        except ProcessLookupError:
            return
        deadline = time.monotonic() + GRACE_SECONDS
        while process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.1)


@contextmanager
def _interruptible() -> Iterator[None]:
    """A polite end of the whole run still removes its hosts."""

    def stop(number: int, _: FrameType | None) -> None:
        raise KeyboardInterrupt(signal.Signals(number).name)

    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def sum_up(results: Sequence[Result]) -> int:
    """Print what each stage took and how it ended; returns the exit code of the whole."""
    sys.stdout.flush()
    print("\nstage                 seconds  result")
    for result in results:
        print(f"{result.stage.name:<20} {result.seconds:8.0f}  {'FAILED' if result.failed else 'passed'}")
        for what in result.failed:
            print(f"    {what}")
    print(f"{'all':<20} {sum(result.seconds for result in results):8.0f}\n")
    for line in (line for result in results for line in result.closing):
        print(line)
    failed = sum(bool(result.failed) for result in results)
    print(f"{len(results) - failed} stages passed, {failed} failed", flush=True)
    return 1 if failed else 0
