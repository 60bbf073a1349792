"""Frames of a WebSocket: every rule of RFC 6455 that a client may break, and messages in whatever pieces."""

from __future__ import annotations

import contextlib
import itertools
import os
import random
import struct
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hecto.realtime import frames
from hecto.realtime.frames import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, Code, Receiver, ViolationError
from tests.unit.realtime.frames import masked

LIMIT = 200_000


def received(pieces: Iterable[bytes], limit: int = LIMIT) -> list[frames.Message]:
    receiver = Receiver(limit)
    return [message for piece in pieces for message in receiver.feed(piece)]


def violation(*pieces: bytes, limit: int = LIMIT) -> Code:
    with pytest.raises(ViolationError) as caught:
        received(pieces, limit)
    return caught.value.code


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65535, 65536, 100_000])
def test_a_message_of_any_size_comes_through_both_ways(size: int) -> None:
    content = os.urandom(size)
    assert received([masked(BINARY, content)]) == [(BINARY, content)]
    made = frames.frame(BINARY, content)
    assert made.endswith(content)
    assert len(made) - size == (2 if size < 126 else 4 if size < 65536 else 10)


@given(st.lists(st.tuples(st.text(max_size=300), st.integers(1, 5)), max_size=5), st.randoms(use_true_random=False))
def test_texts_in_fragments_and_pieces_with_pings_between_are_the_same_texts(
    texts: list[tuple[str, int]], chance: random.Random
) -> None:
    stream = b""
    for text, count in texts:
        content = text.encode()
        cuts = sorted(chance.randint(0, len(content)) for _ in range(count - 1))
        parts = [content[begin:end] for begin, end in itertools.pairwise([0, *cuts, len(content)])]
        for at, part in enumerate(parts):
            stream += masked(CONTINUATION if at else TEXT, part, final=at == len(parts) - 1)
            stream += masked(PING, b"?")
    places = sorted(chance.randint(0, len(stream)) for _ in range(10))
    pieces = [stream[begin:end] for begin, end in itertools.pairwise([0, *places, len(stream)])]
    found = received(pieces)
    assert [content for opcode, content in found if opcode == TEXT] == [text for text, _ in texts]
    assert sum(opcode == PING for opcode, _ in found) == sum(count for _, count in texts)


@pytest.mark.parametrize(
    "broken",
    [
        masked(TEXT, b"x", reserved=1),
        masked(TEXT, b"x", reserved=4),
        frames.frame(TEXT, b"not masked"),
        masked(3, b""),
        masked(0xB, b""),
        masked(PING, b"x" * 126),
        masked(PONG, b"", final=False),
        masked(CONTINUATION, b"of nothing"),
        masked(TEXT, b"one", final=False) + masked(TEXT, b"another"),
    ],
)
def test_who_breaks_a_rule_is_told_so(broken: bytes) -> None:
    assert violation(broken) == Code.PROTOCOL_ERROR


@pytest.mark.parametrize("text", [b"\xff", b"\xc0\xaf", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"half of one \xe2\x82"])
def test_what_is_not_utf8_is_no_text(text: bytes) -> None:
    assert violation(masked(TEXT, text)) == Code.NOT_UTF8
    assert violation(masked(TEXT, text, final=False) + masked(CONTINUATION, b"")) == Code.NOT_UTF8


def test_a_wrong_text_is_refused_at_its_first_wrong_fragment() -> None:
    assert violation(masked(TEXT, b"ok \xff", final=False)) == Code.NOT_UTF8


def test_too_large_a_message_is_refused_by_its_head_alone() -> None:
    assert violation(masked(BINARY, b"x" * 101, final=True)[:6], limit=100) == Code.TOO_BIG
    assert violation(b"\x82\xff" + b"\x7f" + b"\xff" * 7, limit=100) == Code.TOO_BIG
    parts = masked(BINARY, b"x" * 60, final=False), masked(CONTINUATION, b"x" * 41)
    assert violation(*parts, limit=100) == Code.TOO_BIG
    # After one that was large enough, the next one has all the room again.
    assert len(received([masked(BINARY, b"x" * 100), masked(BINARY, b"x" * 100)], limit=100)) == 2


def test_the_codes_that_go_over_the_wire() -> None:
    assert frames.close_code(b"") == Code.NO_CODE
    for code in (1000, 1003, 1007, 1011, 3000, 4999):
        assert frames.close_code(struct.pack(">H", code) + b"bye") == code
    for payload in (b"\x03", *(struct.pack(">H", code) for code in (0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000))):
        with pytest.raises(ViolationError):
            frames.close_code(payload)
    with pytest.raises(ViolationError) as caught:
        frames.close_code(struct.pack(">H", 1000) + b"\xff")
    assert caught.value.code == Code.NOT_UTF8


def test_the_closing_frame_says_code_and_reason_and_is_never_too_long() -> None:
    assert frames.closing() == bytes((0x80 | CLOSE, 0))
    assert frames.closing(1001, "bye") == bytes((0x80 | CLOSE, 5)) + struct.pack(">H", 1001) + b"bye"
    assert len(frames.closing(1002, "x" * 500)) == 2 + frames.LONGEST_CONTROL


@given(st.binary(max_size=400))
def test_noise_ends_in_messages_or_a_violation(noise: bytes) -> None:
    with contextlib.suppress(ViolationError):
        received([noise[:7], noise[7:]])


@given(st.binary(max_size=300), st.binary(min_size=4, max_size=4))
def test_a_mask_is_undone(content: bytes, mask: bytes) -> None:
    assert frames.unmask(bytes(byte ^ mask[at % 4] for at, byte in enumerate(content)), mask) == content
