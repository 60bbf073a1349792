"""An event on its way through Redis: made once, read at each instance, with and without its offset."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from socketio.packet import Packet

from hecto.core.outbox import Message
from hecto.realtime.broadcast import Broadcast, content_of
from hecto.realtime.stream import Position, position_of

_plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def read(packets: list) -> list:
    """What a client reads of them."""
    first, *attachments = [packet.data for packet in packets]
    found = Packet(encoded_packet=first)
    for attachment in attachments:
        found.add_attachment(attachment)
    return found.data


@given(name=st.from_regex(r"[a-z.]{1,20}", fullmatch=True), payload=st.dictionaries(st.text(), _plain, max_size=4))
def test_clients_read_what_was_sent(name, payload):
    broadcast = Broadcast("task:1", "0a1b2c3d", 17, content_of(Message("task:1", name, payload)))
    assert (broadcast.name, broadcast.offset, broadcast.payload()) == (name, "0a1b2c3d-17", payload)
    assert read(broadcast.numbered.packets) == [name, payload, "0a1b2c3d-17"]
    assert read(broadcast.plain.packets) == [name, payload]


@given(st.lists(st.binary(max_size=300), min_size=1, max_size=4))
def test_bytes_go_as_attachments(contents):
    sent = {"name": "a photo\n", "parts": contents}
    broadcast = Broadcast("task:1", "0a1b2c3d", 17, content_of(Message("task:1", "photo", sent)))
    assert broadcast.name == "photo"
    assert read(broadcast.numbered.packets) == ["photo", sent, "0a1b2c3d-17"]
    assert read(broadcast.plain.packets) == ["photo", sent]


@pytest.mark.parametrize(
    "said", [None, 5, "", "-", "a-", "-1", "a-b", "a-1x", "a--1", "a-\u0661", "a-" + "9" * 60, ["a-1"]]
)
def test_what_is_no_offset_is_no_position(said):
    assert position_of(said) is None


def test_an_offset_is_a_position():
    assert position_of("0a1b2c3d-17") == Position("0a1b2c3d", 17)
