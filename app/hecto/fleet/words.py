"""How instances and moments are told to a person."""

import time
from collections.abc import Mapping, Sequence


def spell(numbers: Sequence[int]) -> str:
    """Numbers for a person: instance-1, or instances 1-4 7."""
    if len(numbers) == 1:
        return f"instance-{numbers[0]}"
    runs: list[list[int]] = []
    for number in sorted(numbers):
        if runs and runs[-1][-1] == number - 1:
            runs[-1][1:] = [number]
        else:
            runs.append([number])
    return "instances " + " ".join("-".join(map(str, run)) for run in runs)


def run(numbers: Sequence[int]) -> str:
    """`instance-1 runs`, or `instances 1-4 run`."""
    return f"{spell(numbers)} {'runs' if len(numbers) == 1 else 'run'}"


def describe(found: Mapping[int, str]) -> str:
    """What each of some instances says."""
    return ", ".join(f"instance-{number} {text}" for number, text in sorted(found.items()))


def clock(moment: float) -> str:
    """A moment, for people and for scripts."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(moment))


def duration(seconds: float) -> str:
    """The two largest parts of a duration: 3d 4h, 2h 5m, 7m 1s, 12s."""
    rest = int(seconds)
    parts: list[str] = []
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)):
        amount, rest = divmod(rest, size)
        if amount or (unit == "s" and not parts):
            parts.append(f"{amount}{unit}")
    return " ".join(parts[:2])
