"""What clients may send as packets, and that everything else is refused in one way."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from socketio.packet import BINARY_EVENT, EVENT

from hecto.realtime.packets import MalformedError, Packet, engine_packet


def test_events_and_credentials_are_read() -> None:
    packet = Packet(encoded_packet='2["hello",{"to":"ada"}]')
    assert (packet.packet_type, packet.data) == (EVENT, ["hello", {"to": "ada"}])
    assert Packet(encoded_packet='0{"token":"x"}').data == {"token": "x"}
    assert Packet(encoded_packet="0").data is None


def test_an_event_with_an_attachment_is_put_together() -> None:
    packet = Packet(encoded_packet='51-["file",{"_placeholder":true,"num":0}]')
    assert packet.packet_type == BINARY_EVENT
    assert packet.add_attachment(b"\x00\x01")
    assert packet.data == ["file", b"\x00\x01"]


@pytest.mark.parametrize(
    "encoded",
    [
        "9",
        "7[]",
        "x",
        '4{"message":"no"}',
        "2",
        "2[]",
        '2{"a":1}',
        "2[1]",
        '2["connect"]',
        '2["disconnect"]',
        "2[" * 100,
        "2" + "[" * 50_000,
        '0["x"]',
        '599999999999-["x"]',
        '511-["x"]',
        "2" + "1" * 101 + '["x"]',
    ],
)
def test_what_is_no_packet_of_a_client_is_malformed(encoded: str) -> None:
    with pytest.raises(MalformedError):
        Packet(encoded_packet=encoded)


def test_attachments_that_do_not_fit_are_malformed() -> None:
    with pytest.raises(MalformedError):
        Packet(encoded_packet=b"2[]")
    packet = Packet(encoded_packet='51-["file",{"_placeholder":true,"num":7}]')
    with pytest.raises(MalformedError):
        packet.add_attachment("text")
    with pytest.raises(MalformedError):
        packet.add_attachment(b"none has this number")


@given(st.one_of(st.text(max_size=60), st.from_regex(r"[0-9]{0,3}-?[\[\]{}\",a-z0-9:/]{0,40}", fullmatch=True)))
def test_noise_is_a_packet_or_malformed(noise: str) -> None:
    for read in (engine_packet, lambda encoded: Packet(encoded_packet=encoded)):
        with contextlib.suppress(MalformedError):
            read(noise)
