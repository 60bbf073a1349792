"""Watches a canary: a release can pass every check and still fail what users ask of it."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hecto.fleet import wait
from hecto.fleet.control import ControlError, Reply, ask_all
from hecto.fleet.host import Host
from hecto.fleet.words import describe

# Fewer errors than this may be one user's bad luck.
ERRORS = 2
# A release is worse than the others when it answers this share of its requests more with an error.
WORSE = 0.01
# A process that ends once may have been killed by anybody; a release that ends under traffic does so again and again.
ENDS = 2
INTERVAL = 0.1

Answers = Mapping[int, Reply | ControlError]


@dataclass(frozen=True)
class Traffic:
    """What was asked of instances, how often they answered with an error, and how often their process ended."""

    asked: int = 0
    errors: int = 0
    ends: int = 0

    def __add__(self, other: "Traffic") -> "Traffic":
        return Traffic(self.asked + other.asked, self.errors + other.errors, self.ends + other.ends)

    @property
    def share(self) -> float:
        return self.errors / max(1, self.asked)


def watch(host: Host, canaries: Sequence[int], others: Sequence[int], release: str) -> str | None:
    """Look how canaries fare with real traffic, beside the others; returns what is wrong with them."""
    before = ask_all(host.sockets([*canaries, *others]))
    last: Answers = {number: before[number] for number in canaries}
    theirs, known_ends = Traffic(), 0
    deadline = time.monotonic() + host.patience.canary
    while True:
        time.sleep(INTERVAL)
        is_over = time.monotonic() > deadline
        if is_over and (late := wait.until_ready(host, canaries, release)):
            return f"took traffic, and then {describe(late)}"
        now = ask_all(host.sockets(canaries))
        theirs += between(last, now)
        # One that is just being started again is compared with what it was, once it answers.
        last = {n: reply if isinstance(reply, Reply) else last[n] for n, reply in now.items()}
        if theirs.ends >= ENDS:
            return f"ended {theirs.ends} times under traffic"
        # The others are a hundred: they are asked only when there is something to compare.
        if theirs.errors >= ERRORS and (trouble := _compare(theirs, between(before, ask_all(host.sockets(others))))):
            return trouble
        if is_over and theirs.ends == known_ends:
            return None
        if is_over:
            # It ended once: watched again, it shows whether that is its habit.
            known_ends, deadline = theirs.ends, time.monotonic() + host.patience.canary


def _compare(theirs: Traffic, rest: Traffic) -> str | None:
    if theirs.share <= rest.share + WORSE:
        return None
    return (
        f"answered {theirs.errors} of {theirs.asked} requests with an error (the others {rest.errors} of {rest.asked})"
    )


def between(before: Answers, after: Answers) -> Traffic:
    """The traffic between two looks."""
    total = Traffic()
    for number, now in after.items():
        then = before.get(number)
        if not isinstance(now, Reply):
            continue
        if isinstance(then, Reply) and then.pid == now.pid:
            total += Traffic(now.requests - then.requests, now.errors - then.errors)
        elif isinstance(then, Reply):
            # A successor began to count anew.
            total += Traffic(now.requests, now.errors, ends=1)
    return total
