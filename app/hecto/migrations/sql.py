"""SQL as text: statements of a migration, each in a form that rules can be matched against."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

_TOKEN = re.compile(
    r"""(?P<comment>--[^\n]*|/\*.*?\*/)
      | (?P<string>[eE]'(?:[^'\\]|''|\\.)*'|'(?:[^']|'')*')
      | (?P<body>\$(?P<tag>\w*)\$.*?\$(?P=tag)\$)
      | "(?P<name>(?:[^"]|"")*)"
      | (?P<end>;)
      | (?P<space>\s+)
      | (?P<word>\w+|.)""",
    re.VERBOSE | re.DOTALL,
)


@dataclass(frozen=True)
class Statement:
    """One statement: as it was written, as rules see it, and whether it is inside of a transaction."""

    text: str
    # Lower case, one space between words, no comments; texts are '' and bodies of functions $$.
    shape: str
    atomic: bool

    @property
    def short(self) -> str:
        """Enough of the text to find it again."""
        return self.text if len(self.text) <= 120 else self.text[:117] + "..."


def statements(script: str) -> list[Statement]:
    """The statements of a script, without its BEGIN and COMMIT."""
    found, atomic = [], False
    for text, shape in _split(script):
        if shape in ("begin", "commit"):
            atomic = shape == "begin"
        elif shape:
            found.append(Statement(text, shape, atomic))
    return found


def _split(script: str) -> Iterator[tuple[str, str]]:
    text, shape = "", ""
    for token in _TOKEN.finditer(script):
        kind = token.lastgroup
        if kind == "end":
            yield _tidy(text), _even(shape)
            text, shape = "", ""
            continue
        text += " " if kind in ("comment", "space") else token[0]
        shape += _shape(token, str(kind))
    yield _tidy(text), _even(shape)


def _shape(token: re.Match[str], kind: str) -> str:
    if kind in ("comment", "space"):
        return " "
    if kind == "string":
        return "''"
    # "tag" closes after "body" began; both are set for the body of a function.
    if kind in ("body", "tag"):
        return "$$"
    # A quoted name keeps its case: it is another name than the same in lower case.
    return token["name"] if kind == "name" else token[0].lower()


def _tidy(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip()


def _even(shape: str) -> str:
    """The same spaces around parentheses and commas, however they were written."""
    spaced = _tidy(re.sub(r"\s*([(),])\s*", r"\1 ", shape))
    return spaced.replace("( ", "(").replace(" )", ")").replace(" ,", ",")


def parts(text: str) -> list[str]:
    """The parts of a list between commas, those inside of parentheses left alone."""
    found, depth = [""], 0
    for character in text:
        depth += {"(": 1, ")": -1}.get(character, 0)
        if character == "," and depth == 0:
            found.append("")
        else:
            found[-1] += character
    return [part.strip() for part in found if part.strip()]
