"""Takes a roll back that failed: every instance that it moved returns to what it ran before."""

from collections.abc import Iterator, Mapping, Sequence

from hecto.fleet import move, plan, releases, snapshot
from hecto.fleet.errors import FleetError, NeedsAPersonError, ReturnedError
from hecto.fleet.host import Host
from hecto.fleet.snapshot import Instance
from hecto.fleet.state import Roll
from hecto.fleet.words import describe, run

# Of more failed instances than these the journal would say the same.
QUOTED = 3


def go_back(host: Host, roll: Roll, why: str, failed: Mapping[int, str]) -> ReturnedError | NeedsAPersonError:
    """Go back with the failed batch at once, then with all that this roll has moved; returns the error to end with."""
    journal = {n: host.supervisor.journal(n, roll.since) for n in sorted(failed)[:QUOTED]}
    quotes = "".join(f"\n  hecto-{number}: {line}" for number, lines in journal.items() for line in lines)
    host.say(f"{why} Going back.{quotes}")
    now = snapshot.take(host.layout, host.supervisor, roll.release, with_memory=False)
    wanted = {number: instance for number, instance in now.instances.items() if instance.wanted}
    away = {n: before for n, before in roll.origin.items() if n in wanted and not _is_back(wanted[n], before)}
    late = _return(host, roll, wanted, away)
    details = {
        "changed": True,
        "release": roll.release,
        "failed": {str(number): text for number, text in failed.items()},
        "journal": {str(number): lines for number, lines in journal.items()},
        "returned": sorted(away.keys() - late.keys()),
        "not_returned": {str(number): text for number, text in late.items()},
    }
    first = min(late or failed or away, default="NUMBER")
    advice = f"Read journalctl -t hecto-{first}, mend the cause and run this again"
    if late:
        return NeedsAPersonError(
            f"{why} Not everything could be taken back: {describe(late)}. The others serve. {advice}: it tries again "
            f"to go back; hecto-fleet roll --release ID goes elsewhere.{quotes}",
            **details,
        )
    return ReturnedError(f"{why} Everything is back on what it ran before and serves. {advice}.{quotes}", **details)


def _return(host: Host, roll: Roll, wanted: Mapping[int, Instance], away: Mapping[int, str | None]) -> dict[int, str]:
    """Give instances back, batch by batch; what keeps those from it that are not back is returned."""
    late: dict[int, str] = {}
    for numbers in _batches(roll, away, plan.batch_size(len(wanted))):
        if late and all(wanted[number].state == "ready" for number in numbers):
            # What they ran before does not come up any more: they serve, and would stop to.
            late |= dict.fromkeys(numbers, f"is left on {roll.release}, where it serves")
        else:
            late |= _give_back(host, numbers, away[numbers[0]])
    return late


def _batches(roll: Roll, away: Mapping[int, str | None], size: int) -> Iterator[Sequence[int]]:
    """Batches that have one release to go to; first what was half-moved, all at once: it takes no traffic anyway."""
    half = set(roll.half_moved)
    ways = [(before, [n for n in sorted(away) if away[n] == before]) for before in sorted(set(away.values()), key=str)]
    for _, numbers in ways:
        if first := [number for number in numbers if number in half]:
            yield first
    for _, numbers in ways:
        yield from plan.batches([number for number in numbers if number not in half], size, canary=False)


def _give_back(host: Host, numbers: Sequence[int], release: str | None) -> dict[int, str]:
    try:
        if release is None:
            return _stop(host, numbers)
        if release not in releases.installed(host.layout):
            return dict.fromkeys(numbers, f"ran release {release}, which is not on this host any more")
        late = move.give_back(host, numbers, release)
    except FleetError as error:
        return dict.fromkeys(numbers, str(error))
    if returned := [number for number in numbers if number not in late]:
        host.say(f"{run(returned)} {release} again")
    return late


def _stop(host: Host, numbers: Sequence[int]) -> dict[int, str]:
    """Have instances as they were that had never run."""
    host.supervisor.stop(numbers)
    for number in numbers:
        host.layout.unhold(number)
        host.layout.unpin(number)
    return {}


def _is_back(instance: Instance, release: str | None) -> bool:
    if release is None:
        return instance.pin is None and not instance.runs
    return instance.state == "ready" and instance.release == instance.pin == release
