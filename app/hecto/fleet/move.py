"""Moves instances to a release: drained before, and looked at before anybody's request reaches them."""

from collections.abc import Collection, Sequence

from hecto.fleet import wait
from hecto.fleet.control import SilentError, ask_all, check_all
from hecto.fleet.errors import FleetError
from hecto.fleet.host import Host
from hecto.fleet.supervisor import ATTEMPTS
from hecto.fleet.words import describe


def move(host: Host, numbers: Sequence[int], release: str, *, started: Collection[int] = ()) -> dict[int, str]:
    """Move instances, all at the same time; returns what is wrong with those that fail, and then none takes traffic.

    Those that a run before this one has already `started` on the release are only looked at and let in.
    """
    if failed := _restart(host, [number for number in numbers if number not in started], release, held=True):
        return failed
    failed = wait.until_started(host, numbers, release) or look(host, numbers, release)
    return failed or admit(host, numbers, release)


def give_back(host: Host, numbers: Sequence[int], release: str) -> dict[int, str]:
    """Return instances to a release that they ran before: it needs no look, it served until now."""
    return _restart(host, numbers, release, held=False) or wait.until_ready(host, numbers, release, resume=True)


def drain(host: Host, numbers: Sequence[int]) -> None:
    """Ask instances to refuse new work and wait until they have finished their own."""
    # One that does not answer cannot be waited for: its requests go elsewhere as soon as its sockets close.
    ask_all(host.sockets(numbers), "drain")
    if busy := wait.until_idle(host, numbers):
        host.say(
            f"after {host.patience.drain:g} s {describe(busy)} left; going on, nginx gives these to other instances"
        )


def look(host: Host, numbers: Sequence[int], release: str) -> dict[int, str]:
    """Have instances check themselves; returns what does not work in those that fail."""
    failed: dict[int, str] = {}
    left = list(numbers)
    for attempt in range(ATTEMPTS):
        answers = check_all(host.sockets(left))
        failed |= {n: f"fails its self check: {'; '.join(a)}" for n, a in answers.items() if isinstance(a, list) and a}
        unanswered = {n: a for n, a in answers.items() if not isinstance(a, list)}
        # One that was killed meanwhile gets another chance when it is back; one that hangs does not.
        left = [n for n, answer in unanswered.items() if not isinstance(answer, SilentError)]
        is_last = attempt == ATTEMPTS - 1
        failed |= {n: f"cannot be checked: {answer}" for n, answer in unanswered.items() if is_last or n not in left}
        if not left or is_last:
            break
        late = wait.until_started(host, left, release)
        failed |= late
        left = [number for number in left if number not in late]
    return failed


def admit(host: Host, numbers: Sequence[int], release: str | None) -> dict[int, str]:
    """Let held instances take traffic; returns what those that do not get ready say."""
    # The file goes first: a worker that dies later must not come back held.
    for number in numbers:
        host.layout.unhold(number)
    ask_all(host.sockets(numbers), "resume")
    return wait.until_ready(host, numbers, release, resume=True)


def _restart(host: Host, numbers: Sequence[int], release: str, *, held: bool) -> dict[int, str]:
    """Stop instances and start them on a release; when that cannot be done, why not is returned for each."""
    if not numbers:
        return {}
    try:
        drain(host, numbers)
        host.supervisor.stop(numbers)
        # Only now, while nothing can start by itself: what dies in mid-roll comes back on the release that it ran.
        for number in numbers:
            if held:
                host.layout.hold(number)
            else:
                host.layout.unhold(number)
            host.layout.pin(number, release)
        host.supervisor.start(numbers)
    except OSError as error:
        return dict.fromkeys(numbers, f"could not be pinned to {release} ({error.strerror}: {error.filename})")
    except FleetError as error:
        return dict.fromkeys(numbers, f"could not be restarted: {error}")
    return {}
