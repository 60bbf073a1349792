"""Moves instances to a release: drained before, looked at before anybody's request reaches them."""

import time
from collections.abc import Mapping, Sequence

from hecto.fleet import wait
from hecto.fleet.apply import Say, drain, spell
from hecto.fleet.control import Reply, ask_all, check_all
from hecto.fleet.layout import Layout
from hecto.fleet.supervisor import Supervisor
from hecto.fleet.wait import Patience

# A canary takes real traffic for this long before others follow: with some requests a second it meets most pages.
WATCH_SECONDS = 3.0
# Fewer errors than this may be a user's bad luck.
ERRORS = 2
# A release is worse than the others when it answers this share of its requests more with an error.
WORSE = 0.01


def move(
    layout: Layout, supervisor: Supervisor, numbers: Sequence[int], release: str, patience: Patience, say: Say
) -> dict[int, str]:
    """Move instances, all at the same time; returns what is wrong with those that did not make it.

    A failed one is stopped and holds no request up: nginx gives its requests to the others.
    """
    _restart(layout, supervisor, numbers, release, patience, say, held=True)
    failed = wait.until_ready(layout, supervisor, numbers, release, patience.ready, held=True)
    started = [number for number in numbers if number not in failed]
    failed |= check_all({number: layout.control(number) for number in started})
    admit(layout, [number for number in started if number not in failed])
    if failed:
        supervisor.stop(sorted(failed))
        for number in failed:
            layout.hold(number).unlink(missing_ok=True)
    fine = [number for number in numbers if number not in failed]
    failed |= wait.until_ready(layout, supervisor, fine, release, patience.ready)
    if moved := [number for number in numbers if number not in failed]:
        say(f"{spell(moved)} {'run' if len(moved) > 1 else 'runs'} {release}")
    return failed


def give_back(
    layout: Layout, supervisor: Supervisor, numbers: Sequence[int], release: str, patience: Patience, say: Say
) -> dict[int, str]:
    """Return instances to a release that they ran before: it needs no look, it served until now."""
    _restart(layout, supervisor, numbers, release, patience, say, held=False)
    late = wait.until_ready(layout, supervisor, numbers, release, patience.ready)
    if back := [number for number in numbers if number not in late]:
        say(f"{spell(back)} {'run' if len(back) > 1 else 'runs'} {release} again")
    return late


def admit(layout: Layout, numbers: Sequence[int]) -> None:
    """Let held instances take traffic. The file goes first: a worker that dies later must not come back held."""
    for number in numbers:
        layout.hold(number).unlink(missing_ok=True)
    ask_all({number: layout.control(number) for number in numbers}, "resume")


def watch(layout: Layout, canaries: Sequence[int], others: Sequence[int], seconds: float = WATCH_SECONDS) -> str | None:
    """Look how canaries fare with real traffic beside the others; returns what is wrong with them."""
    before = _counts(layout, [*canaries, *others])
    deadline = time.monotonic() + seconds
    while True:
        time.sleep(min(0.5, seconds / 4))
        after = _counts(layout, [*canaries, *others])
        asked, errors = _sum(before, after, canaries)
        share = errors / max(1, asked)
        others_asked, others_errors = _sum(before, after, others)
        if errors >= ERRORS and share > others_errors / max(1, others_asked) + WORSE:
            return f"answered {errors} of {asked} requests with an error (the others {others_errors} of {others_asked})"
        if time.monotonic() > deadline:
            return None


def _restart(
    layout: Layout,
    supervisor: Supervisor,
    numbers: Sequence[int],
    release: str,
    patience: Patience,
    say: Say,
    *,
    held: bool,
) -> None:
    drain(layout, numbers, patience, say)
    supervisor.stop(numbers)
    # Only now, while nothing can start by itself: what dies in mid-roll comes back on the release that it ran.
    for number in numbers:
        if held:
            layout.hold(number).touch()
        else:
            layout.hold(number).unlink(missing_ok=True)
        layout.pin(number, release)
    supervisor.start(numbers)


def _counts(layout: Layout, numbers: Sequence[int]) -> dict[int, tuple[int, int, int]]:
    replies = ask_all({number: layout.control(number) for number in numbers})
    return {
        number: (reply.pid, reply.requests, reply.errors)
        for number, reply in replies.items()
        if isinstance(reply, Reply)
    }


def _sum(
    before: Mapping[int, tuple[int, int, int]], after: Mapping[int, tuple[int, int, int]], numbers: Sequence[int]
) -> tuple[int, int]:
    """Requests and errors between two looks; a process that was replaced meanwhile began to count anew."""
    asked = errors = 0
    for number in numbers:
        if number not in after:
            continue
        pid, requests, failed = after[number]
        known = before.get(number)
        base = known if known and known[0] == pid else (pid, 0, 0)
        asked += requests - base[1]
        errors += failed - base[2]
    return asked, errors
