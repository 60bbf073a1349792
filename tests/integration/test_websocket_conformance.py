"""The server cases 1 to 7, 9 and 10 of the Autobahn test suite, asked again of an instance under gunicorn.

The suite itself runs on Python 2.7 alone, so what its cases try is written down here anew, under their numbers. Where
it lets a server choose (6.4.3 and 6.4.4: a frame is wrong before it is whole), ours answers when the frame is whole.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

import pytest

from tests.integration.peer import Peer, Said
from tests.servers import REPOSITORY, AppInstance, Site
from tests.unit.realtime.frames import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, closing, fragments, masked

NORMAL, PROTOCOL_ERROR, NOT_UTF8 = 1000, 1002, 1007
HELLO = masked(TEXT, b"Hello")
CHOPS = (0, 1)


@pytest.fixture(scope="module")
def echo(site: Site) -> Iterator[AppInstance]:
    found = AppInstance(site, app="tests.integration.echo:app", PYTHONPATH=f"{REPOSITORY / 'app'}:{REPOSITORY}")
    yield found
    found.stop()


@pytest.fixture
def talk(echo: AppInstance):
    """Open a connection, send frames, and hear what comes until it ends."""

    def talk(*sent: bytes, chop: int = 0, well: bool = True) -> Said:
        peer = Peer(5000 + echo.number, "/echo")
        whole = b"".join(sent) + (closing(NORMAL) if well else b"")
        peer.send(whole, chop)
        said = peer.listen()
        peer.close()
        return said

    return talk


def ends_well(said: Said, *messages: tuple[int, bytes]) -> None:
    assert said.messages == list(messages)
    assert said.code == NORMAL


def is_refused(said: Said, code: int, *messages: tuple[int, bytes]) -> None:
    assert said.messages == list(messages)
    assert said.code == code


class TestFraming:
    """1: text and binary messages at the bounds of the three lengths."""

    @pytest.mark.parametrize("size", [0, 125, 126, 127, 128, 65535, 65536])
    @pytest.mark.parametrize("kind", [TEXT, BINARY])
    def test_sizes(self, talk, kind: int, size: int) -> None:
        content = b"*" * size if kind == TEXT else b"\xfe" * size
        ends_well(talk(masked(kind, content)), (kind, content))

    @pytest.mark.parametrize("kind", [TEXT, BINARY])
    def test_in_pieces(self, talk, kind: int) -> None:
        content = b"*" * 65536
        ends_well(talk(masked(kind, content), chop=997), (kind, content))


class TestPings:
    """2: each ping has its pong, and pongs that nobody asked for are nothing."""

    @pytest.mark.parametrize("content", [b"", b"Hello, world!", b"\x00\xff\xfe\xfd\xfc\xfb\x00\xff", b"\xfe" * 125])
    @pytest.mark.parametrize("chop", CHOPS)
    def test_ping(self, talk, content: bytes, chop: int) -> None:
        ends_well(talk(masked(PING, content), chop=chop), (PONG, content))

    def test_too_long(self, talk) -> None:
        is_refused(talk(masked(PING, b"\xfe" * 126)), PROTOCOL_ERROR)

    def test_unsolicited_pongs(self, talk) -> None:
        ends_well(talk(masked(PONG)))
        ends_well(talk(masked(PONG, b"unsolicited"), masked(PING, b"asked")), (PONG, b"asked"))

    @pytest.mark.parametrize("chop", CHOPS)
    def test_ten(self, talk, chop: int) -> None:
        contents = [f"payload-{number}".encode() for number in range(10)]
        said = talk(*(masked(PING, content) for content in contents), chop=chop)
        ends_well(said, *((PONG, content) for content in contents))


class TestReservedBits:
    """3: without an extension all three are zero."""

    @pytest.mark.parametrize("reserved", range(1, 8))
    @pytest.mark.parametrize("opcode", [TEXT, BINARY, PING, CLOSE])
    def test_alone(self, talk, reserved: int, opcode: int) -> None:
        is_refused(talk(masked(opcode, b"\x03\xe8", reserved=reserved), well=False), PROTOCOL_ERROR)

    @pytest.mark.parametrize("chop", CHOPS)
    def test_after_a_good_message(self, talk, chop: int) -> None:
        said = talk(HELLO, masked(TEXT, b"x", reserved=2), masked(PING), chop=chop, well=False)
        is_refused(said, PROTOCOL_ERROR, (TEXT, b"Hello"))


class TestOpcodes:
    """4: those that mean nothing are refused, with and without a payload."""

    @pytest.mark.parametrize("opcode", [3, 4, 5, 6, 7, 11, 12, 13, 14, 15])
    @pytest.mark.parametrize("content", [b"", b"reserved opcode"])
    def test_reserved(self, talk, opcode: int, content: bytes) -> None:
        is_refused(talk(masked(opcode, content), masked(PING), well=False), PROTOCOL_ERROR)
        said = talk(HELLO, masked(opcode, content), masked(PING), chop=1, well=False)
        is_refused(said, PROTOCOL_ERROR, (TEXT, b"Hello"))


class TestFragments:
    """5: messages in parts, with control frames between them, and parts out of turn."""

    FIRST = masked(TEXT, b"fragment1", final=False)
    LAST = masked(CONTINUATION, b"fragment2")
    WHOLE = (TEXT, b"fragment1fragment2")

    @pytest.mark.parametrize("opcode", [PING, PONG, CLOSE])
    def test_control_frames_have_none(self, talk, opcode: int) -> None:
        said = talk(masked(opcode, b"\x03\xe8", final=False), masked(CONTINUATION, b"x"), well=False)
        is_refused(said, PROTOCOL_ERROR)

    @pytest.mark.parametrize("chop", CHOPS)
    def test_two(self, talk, chop: int) -> None:
        ends_well(talk(self.FIRST, self.LAST, chop=chop), self.WHOLE)

    @pytest.mark.parametrize("chop", CHOPS)
    def test_a_ping_between(self, talk, chop: int) -> None:
        ends_well(talk(self.FIRST, masked(PING, b"ping"), self.LAST, chop=chop), (PONG, b"ping"), self.WHOLE)

    @pytest.mark.parametrize("final", [True, False])
    @pytest.mark.parametrize("chop", CHOPS)
    def test_a_continuation_of_nothing(self, talk, final: bool, chop: int) -> None:
        said = talk(masked(CONTINUATION, b"of nothing", final=final), HELLO, chop=chop, well=False)
        is_refused(said, PROTOCOL_ERROR)

    @pytest.mark.parametrize("final", [True, False])
    def test_a_continuation_of_what_has_ended(self, talk, final: bool) -> None:
        said = talk(self.FIRST, self.LAST, masked(CONTINUATION, b"more", final=final), self.FIRST, well=False)
        is_refused(said, PROTOCOL_ERROR, self.WHOLE)

    def test_a_new_message_within_another(self, talk) -> None:
        is_refused(talk(self.FIRST, masked(TEXT, b"fragment2"), well=False), PROTOCOL_ERROR)

    @pytest.mark.parametrize("chop", CHOPS)
    def test_five_with_pings_between(self, talk, chop: int) -> None:
        sent = [
            self.FIRST,
            masked(CONTINUATION, b"fragment2", final=False),
            masked(PING, b"one"),
            masked(CONTINUATION, b"fragment3", final=False),
            masked(CONTINUATION, b"fragment4", final=False),
            masked(PING, b"two"),
            masked(CONTINUATION, b"fragment5"),
        ]
        whole = (TEXT, b"fragment1fragment2fragment3fragment4fragment5")
        ends_well(talk(*sent, chop=chop), (PONG, b"one"), (PONG, b"two"), whole)

    def test_empty_ones(self, talk) -> None:
        # 6.1: a text may be empty, or have empty parts.
        ends_well(talk(masked(TEXT)), (TEXT, b""))
        empty = masked(TEXT, final=False), masked(CONTINUATION, final=False), masked(CONTINUATION)
        ends_well(talk(*empty), (TEXT, b""))
        filled = masked(TEXT, final=False), masked(CONTINUATION, b"middle", final=False), masked(CONTINUATION)
        ends_well(talk(*filled), (TEXT, b"middle"))


def encoded(*points: int) -> bytes:
    """Code points in UTF-8, by the rule alone: surrogates and what Unicode does not have as well."""
    out = b""
    for point in points:
        if point < 0x80:
            out += bytes((point,))
            continue
        size = next(n for n, top in enumerate((0x800, 0x10000, 0x200000, 0x4000000, 0x80000000), 2) if point < top)
        tail = [0x80 | point >> 6 * at & 0x3F for at in reversed(range(size - 1))]
        out += bytes(((0xFF << 8 - size & 0xFF) | point >> 6 * (size - 1), *tail))
    return out


KOSME = "κόσμε".encode()
VALID: dict[str, Sequence[bytes]] = {
    "6.2 sentences": ["Hello-µ@ßöäüàá-UTF-8!!".encode()],
    "6.7 the first of each length": [encoded(point) for point in (0, 0x80, 0x800, 0x10000)],
    "6.9 the last of each length": [encoded(point) for point in (0x7F, 0x7FF, 0xFFFF, 0x10FFFF)],
    "6.11 other bounds": [encoded(point) for point in (0xD7FF, 0xE000, 0xFFFD, 0x10FFFF)],
    "6.22 no characters": [
        encoded(plane << 16 | last) for plane, last in itertools.product(range(17), (0xFFFE, 0xFFFF))
    ],
    "6.23 replacements": [encoded(point) for point in range(0xFFF9, 0xFFFE)],
}
INVALID: dict[str, Sequence[bytes]] = {
    "6.3 surrogates in a text": [KOSME + encoded(0xD800) + b"edited"],
    "6.6 cut text": [KOSME[:end] for end in range(1, len(KOSME)) if KOSME[end] & 0xC0 == 0x80],
    "6.8 longer than four bytes": [encoded(0x200000), encoded(0x4000000)],
    "6.10 past the last": [encoded(0x1FFFFF), encoded(0x3FFFFFF), encoded(0x7FFFFFFF)],
    "6.11 past the bounds": [encoded(0x110000)],
    "6.12 unexpected continuations": [
        b"\x80",
        b"\xbf",
        *(b"\x80\xbf" * n for n in range(1, 4)),
        bytes(range(0x80, 0xC0)),
    ],
    "6.13 lonely beginnings": [
        b" ".join(bytes((byte,)) for byte in span) + b" "
        for span in (range(0xC0, 0xE0), range(0xE0, 0xF0), range(0xF0, 0xF8), range(0xF8, 0xFC), (0xFC,))
    ],
    "6.14 the last byte is missing": [
        encoded(point)[:-1] for point in (0x80, 0x800, 0x10000, 0x200000, 0x4000000, 0x7FF, 0xFFFF, 0x10FFFF)
    ],
    "6.15 several of them": [b"".join(encoded(point)[:-1] for point in (0x80, 0x800, 0x10000, 0x7FF, 0xFFFF))],
    "6.16 impossible bytes": [b"\xfe", b"\xff", b"\xfe\xfe\xff\xff"],
    "6.17 longer than needed": [b"\xc0\xaf", b"\xe0\x80\xaf", b"\xf0\x80\x80\xaf", b"\xf8\x80\x80\x80\xaf"],
    "6.18 the largest of these": [b"\xc1\xbf", b"\xe0\x9f\xbf", b"\xf0\x8f\xbf\xbf", b"\xf8\x87\xbf\xbf\xbf"],
    "6.19 a long zero": [b"\xc0\x80", b"\xe0\x80\x80", b"\xf0\x80\x80\x80"],
    "6.20 single surrogates": [encoded(point) for point in (0xD800, 0xDB7F, 0xDB80, 0xDBFF, 0xDC00, 0xDF80, 0xDFFF)],
    "6.21 pairs of them": [
        encoded(high, low) for high, low in itertools.product((0xD800, 0xDB7F, 0xDB80, 0xDBFF), (0xDC00, 0xDFFF))
    ],
}


class TestTexts:
    """6: what is UTF-8 comes back, whole and in parts; what is not ends the connection."""

    @pytest.mark.parametrize("name", VALID)
    def test_valid(self, talk, name: str) -> None:
        for content in VALID[name]:
            ends_well(talk(masked(TEXT, content)), (TEXT, content))
            ends_well(talk(*fragments(TEXT, content, 1), chop=1), (TEXT, content))

    @pytest.mark.parametrize("name", INVALID)
    def test_invalid(self, talk, name: str) -> None:
        for content in INVALID[name]:
            is_refused(talk(masked(TEXT, content)), NOT_UTF8)
            is_refused(talk(*fragments(TEXT, content, 1)), NOT_UTF8)

    def test_the_first_wrong_part_is_enough(self, echo: AppInstance) -> None:
        # 6.4.1 and 6.4.2: the rest of the message is never sent.
        peer = Peer(5000 + echo.number, "/echo")
        peer.send(masked(TEXT, KOSME + encoded(0x110000), final=False))
        is_refused(peer.listen(), NOT_UTF8)
        peer.close()


class TestClosing:
    """7: how a connection ends."""

    def test_with_a_word_for_a_word(self, talk) -> None:
        ends_well(talk(HELLO), (TEXT, b"Hello"))

    @pytest.mark.parametrize("after", [closing(NORMAL), masked(PING), HELLO], ids=["close", "ping", "text"])
    def test_what_comes_after_it_is_not_heard(self, talk, after: bytes) -> None:
        ends_well(talk(closing(NORMAL), after, well=False))

    def test_within_a_message(self, talk) -> None:
        said = talk(masked(TEXT, b"one", final=False), closing(NORMAL), masked(CONTINUATION, b"two"), well=False)
        ends_well(said)

    def test_after_a_large_message(self, talk) -> None:
        content = b"*" * 256 * 1024
        ends_well(talk(masked(TEXT, content), closing(NORMAL), masked(PING), well=False), (TEXT, content))

    def test_payloads(self, talk) -> None:
        # 7.3: none, half a code, a code, with a reason, with the longest one, with too long a one.
        said = talk(closing(), well=False)
        assert (said.messages, said.farewell) == ([], b"")
        is_refused(talk(masked(CLOSE, b"a"), well=False), PROTOCOL_ERROR)
        for reason in (b"", b"Hello World!", b"*" * 123):
            ends_well(talk(closing(NORMAL, reason), well=False))
        is_refused(talk(closing(NORMAL, b"*" * 124), well=False), PROTOCOL_ERROR)

    def test_the_reason_is_a_text(self, talk) -> None:
        is_refused(talk(closing(NORMAL, KOSME + encoded(0xD800)), well=False), NOT_UTF8)

    @pytest.mark.parametrize("code", [*range(1000, 1004), *range(1007, 1012), 3000, 3999, 4000, 4999])
    def test_good_codes(self, talk, code: int) -> None:
        said = talk(closing(code), well=False)
        assert (said.messages, said.code) == ([], code)

    @pytest.mark.parametrize("code", [0, 999, 1004, 1005, 1006, 1016, 1100, 2000, 2999, 5000, 65535])
    @pytest.mark.parametrize("reason", [b"", b"reason"])
    def test_bad_codes(self, talk, code: int, reason: bytes) -> None:
        is_refused(talk(closing(code, reason), well=False), PROTOCOL_ERROR)


@pytest.mark.timeout(240)
class TestLimits:
    """9: large messages, whole, in parts and in pieces, and many small ones."""

    @pytest.mark.parametrize("kind", [TEXT, BINARY])
    @pytest.mark.parametrize("kilobytes", [64, 256, 1024, 4096, 8192, 16384])
    def test_large(self, talk, kind: int, kilobytes: int) -> None:
        content = b"*" * kilobytes * 1024
        ends_well(talk(masked(kind, content)), (kind, content))

    @pytest.mark.parametrize("kind", [TEXT, BINARY])
    @pytest.mark.parametrize("part", [64, 256, 1024, 4096, 65536, 1024 * 1024, 4 * 1024 * 1024])
    def test_in_parts(self, talk, kind: int, part: int) -> None:
        content = b"*" * 4 * 1024 * 1024
        ends_well(talk(*fragments(kind, content, part)), (kind, content))

    @pytest.mark.parametrize("kind", [TEXT, BINARY])
    @pytest.mark.parametrize("chop", [64, 128, 256, 512, 1024, 2048])
    def test_in_pieces(self, talk, kind: int, chop: int) -> None:
        content = b"*" * 1024 * 1024
        ends_well(talk(masked(kind, content), chop=chop), (kind, content))

    @pytest.mark.parametrize("kind", [TEXT, BINARY])
    @pytest.mark.parametrize("size", [0, 16, 64, 256, 1024, 4096])
    def test_a_thousand_to_and_fro(self, echo: AppInstance, kind: int, size: int) -> None:
        content = b"*" * size
        peer = Peer(5000 + echo.number, "/echo")
        for _ in range(1000):
            peer.send(masked(kind, content))
            assert peer.frame() == (kind, content)
        peer.send(closing(NORMAL))
        ends_well(peer.listen())
        peer.close()

    def test_a_large_text_in_small_parts_of_its_sender(self, talk) -> None:
        # 10.1.1
        content = b"*" * 65536
        ends_well(talk(*fragments(TEXT, content, 1300)), (TEXT, content))
