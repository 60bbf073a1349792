"""Names in messages: which people an ``@Name`` may mean, and a text in pieces to show."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator

# Not the one in an e-mail address.
_AT = re.compile(r"(?<![\w.+@-])@(?=\w)")
_LINK = re.compile(r"https?://[^\s<>\"]*[^\s<>\"'.,;:!?)\]}]")
# A name may have several words, and nobody marks its end: so many words and characters after an @ are looked at.
WORDS, LONGEST = 6, 100
# Of one message.
MOST = 50

Piece = tuple[str, str]


def candidates(text: str) -> list[list[str]]:
    """For each @ of a text, the names that it may mean, the longest first."""
    found = []
    for at in list(_AT.finditer(text))[:MOST]:
        after = text[at.end() : at.end() + LONGEST].split("\n", 1)[0]
        found.append([after[:end] for end in sorted(_ends(after), reverse=True)])
    return found


def _ends(after: str) -> set[int]:
    """Where a name may end: behind each word, with and without the signs that cling to it."""
    words = list(re.finditer(r"\S+", after))[:WORDS]
    last = words[-1].end() if words else 0
    return {word.end() for word in words} | {match.end() for match in re.finditer(r"\w+", after[:last])}


def resolve(found: list[list[str]], people: Iterable[tuple[int, str]]) -> list[int]:
    """The ids of those who are named; of several with the same name, all."""
    ids: dict[str, list[int]] = {}
    for user_id, name in people:
        ids.setdefault(name.lower(), []).append(user_id)
    named = [next((ids[name.lower()] for name in names if name.lower() in ids), []) for names in found]
    return sorted({user_id for some in named for user_id in some})


def pieces(text: str, names: Collection[str]) -> Iterator[Piece]:
    """The text as ("text" | "mention" | "link", words), in its order and complete."""
    longest_first = sorted(map(re.escape, names), key=len, reverse=True)
    mention = rf"{_AT.pattern}(?:{'|'.join(longest_first)})(?!\w)" if names else r"(?!)"
    end = 0
    for match in re.finditer(rf"(?P<mention>{mention})|(?P<link>{_LINK.pattern})", text, re.IGNORECASE):
        if match.start() > end:
            yield "text", text[end : match.start()]
        yield str(match.lastgroup), match[0]
        end = match.end()
    if end < len(text):
        yield "text", text[end:]
