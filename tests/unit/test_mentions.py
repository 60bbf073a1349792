"""Whom a message names, and its text in pieces."""

from __future__ import annotations

import pytest

from hecto.modules.messages.mentions import LONGEST, MOST, candidates, pieces, resolve

PEOPLE = [(1, "Mara"), (2, "Mara Winter"), (3, "Jonas"), (4, "Jonas"), (5, "Sammy Davis Jr."), (6, "Zoë O'Neill")]


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("@Mara can you look?", [1]),
        ("@mara winter, can you look?", [2]),
        ("thanks (@MARA)!", [1]),
        ("@Mara's idea", [1]),
        ("@Jonas", [3, 4]),
        ("@Sammy Davis Jr. knows", [5]),
        ("ask @Zoë O'Neill.", [6]),
        ("@Mara\nWinter is coming", [1]),
        ("@Mara @Jonas @Mara", [1, 3, 4]),
        ("@Marathon", []),
        ("write to info@Mara", []),
        ("@ Mara", []),
        ("@@Mara", []),
        ("nobody", []),
        ("@Nobody", []),
    ],
)
def test_names_are_found_behind_an_at_sign(text, ids):
    assert resolve(candidates(text), PEOPLE) == ids


def test_what_is_looked_for_is_bounded_however_long_the_text_is():
    many = candidates("@a " * 3000)
    assert len(many) == MOST
    assert max(len(name) for names in candidates("@" + "x-" * 5000) for name in names) <= LONGEST
    assert len(candidates("@" + "x " * 5000)[0]) <= 12


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain", [("text", "plain")]),
        ("hello @Mara Winter!", [("text", "hello "), ("mention", "@Mara Winter"), ("text", "!")]),
        ("@mara, @Mara", [("mention", "@mara"), ("text", ", "), ("mention", "@Mara")]),
        ("@Marathon", [("text", "@Marathon")]),
        ("see https://example.com/a?b=c.", [("text", "see "), ("link", "https://example.com/a?b=c"), ("text", ".")]),
        ("(http://example.com)", [("text", "("), ("link", "http://example.com"), ("text", ")")]),
        ("javascript:alert(1) https:// x", [("text", "javascript:alert(1) https:// x")]),
    ],
)
def test_a_text_is_shown_in_pieces(text, expected):
    assert list(pieces(text, ["Mara", "Mara Winter"])) == expected


@pytest.mark.parametrize("names", [[], ["Mara"], ["a.b*"]])
def test_no_piece_of_a_text_is_lost(names):
    text = "a @Mara b\nhttp://x.y/z, @a.b* <b>@@Mara</b>"
    assert "".join(words for _, words in pieces(text, names)) == text
