"""Rooms that are asked for while others are given up."""

from __future__ import annotations

from types import SimpleNamespace

from hecto.realtime.listener import Listener


class Channels:
    """Redis, which confirms at once, and a minute that passes while it does so the first time."""

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self.asked: list[tuple[str, ...]] = []

    def subscribe(self, *channels: str) -> None:
        self.asked.append(channels)
        if len(self.asked) == 1:
            del self._listener._rooms["task:1"]
        for channel in channels:
            self._listener._confirm(channel.removeprefix("hecto:events:"))


def test_a_room_that_is_given_up_while_somebody_waits_for_another_is_asked_for_again():
    # It connects to no Redis: nothing has told it to listen.
    settings = SimpleNamespace(redis_user="", redis_password="", redis_socket="/nowhere")
    listener = Listener(settings, None, None, None)  # type: ignore[arg-type]
    listener.hear(["task:1"])
    listener._channels = channels = Channels(listener)  # type: ignore[assignment]
    listener._confirm("task:1")
    listener.hear(["task:1", "task:2"])
    assert channels.asked == [("hecto:events:task:2",), ("hecto:events:task:1",)]
    assert listener._rooms["task:1"].is_set()
