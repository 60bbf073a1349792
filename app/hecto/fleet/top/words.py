"""Sizes, shares and texts for a line of a terminal."""

import math

_UNITS = ("B", "kB", "MB", "GB", "TB")


def size(amount: float | None) -> str:
    """Bytes for a person, in three digits: 310 MB, 1.2 GB."""
    if amount is None:
        return "-"
    step = 0
    while amount >= 999.5 and step < len(_UNITS) - 1:
        amount, step = amount / 1024, step + 1
    return f"{amount:.1f} {_UNITS[step]}" if 0 < amount < 9.95 and step else f"{amount:.0f} {_UNITS[step]}"


def rate(amount: float | None) -> str:
    """So many a second: 0, 0.4, 12, 3400."""
    if amount is None:
        return "-"
    return f"{amount:.1f}" if 0 < amount < 9.95 else f"{amount:.0f}"


def percent(share: float | None) -> str:
    """A share of one as a percentage; what is nearly all is not called all."""
    if share is None:
        return "-"
    value = math.floor(share * 1000) / 10 if share < 1 else share * 100
    return f"{value:.1f}%" if 99 <= value < 100 else f"{share * 100:.0f}%"


def seconds(amount: float | None) -> str:
    """A duration that may be short: 40 ms, 1.2 s, 75 s, 12 min, 3 h."""
    if amount is None:
        return "-"
    if amount < 1:
        return f"{amount * 1000:.0f} ms"
    if amount < 120:
        return f"{amount:.1f} s" if amount < 10 else f"{amount:.0f} s"
    return f"{amount / 60:.0f} min" if amount < 7200 else f"{amount / 3600:.0f} h"


def one_line(text: str | None, longest: int = 300) -> str:
    """A text of whoever on one line: what would move the cursor or change colours is left out."""
    words = " ".join("".join(letter if letter.isprintable() else " " for letter in (text or "")[: longest * 4]).split())
    return words if len(words) <= longest else words[: longest - 1] + "…"
