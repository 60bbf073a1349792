"""What is said on channels of Redis, on a connection of its own.

redis-py connects; its PubSub does not read. On the way through that, a message costs more than all that an instance
does with it: seven layers, and a line of text of the whole message for a log that nobody keeps.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import hiredis
import redis
from gevent import get_hub

# Bytes that are read at once: some dozen events.
_READ = 65536
# libev's word for "can be read".
_READABLE = 1
# The id that the copies of a Redis follow: its reign, see stream.
_REIGN = re.compile(rb"role:master\b.*master_replid:([0-9a-f]+)", re.DOTALL)


class Channels:
    """Channels, from the first one that is subscribed to until the connection ends."""

    def __init__(self, connection: Any) -> None:
        """Connect; raises what redis-py raises.

        `connection` is one of redis-py's, which has no type for those that a pool makes; without a timeout for reads,
        since silence is normal here.
        """
        self._connection = connection
        connection.connect()
        self.reign = _reign(connection)
        self._socket = connection._sock
        self._hub = get_hub()
        self._readable = self._hub.loop.io(self._socket.fileno(), _READABLE)

    def subscribe(self, *channels: str) -> None:
        """Hear channels; each is confirmed as ``subscribe``, in order. Raises ConnectionError."""
        self._say("SUBSCRIBE", *channels)

    def unsubscribe(self, *channels: str) -> None:
        """Hear channels no more; raises ConnectionError."""
        self._say("UNSUBSCRIBE", *channels)

    def _say(self, *words: str) -> None:
        # Not by redis-py, which would close the socket of whoever waits for a message.
        try:
            self._socket.sendall(b"".join(self._connection.pack_command(*words)))
        except OSError as error:
            raise redis.ConnectionError(f"the connection to Redis broke: {error}") from error

    def messages(self) -> Iterator[tuple[bytes, str, bytes]]:
        """What is said, as (what kind of message it is, channel, content); raises RedisError when it ends."""
        reader = hiredis.Reader(protocolError=redis.ConnectionError)
        while True:
            reader.feed(self._read())
            while (message := reader.gets()) is not False:
                if isinstance(message, hiredis.ReplyError):
                    raise redis.ResponseError(str(message))
                kind, channel, content = message
                yield kind, channel.decode(), content

    def _read(self) -> bytes:
        while True:
            # Waits first: gevent's recv() would try first, and in vain, since all that was there has been read.
            self._hub.wait(self._readable)
            try:
                data: bytes = self._socket._sock.recv(_READ)
            except BlockingIOError:
                continue
            except OSError as error:
                raise redis.ConnectionError(f"the connection to Redis broke: {error}") from error
            if not data:
                raise redis.ConnectionError("Redis closed the connection")
            return data

    def end(self) -> None:
        """End the connection; whoever reads its messages hears of it."""
        # It may have ended by itself.
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Give the connection back to the system."""
        self._readable.close()
        self._connection.disconnect()


def _reign(connection: Any) -> str:
    """The reign of the Redis at the other end; raises ConnectionError when it is not a master."""
    connection.send_command("INFO", "replication")
    found = _REIGN.search(connection.read_response(disable_decoding=True))
    if found is None:
        raise redis.ConnectionError("this Redis is not the master")
    return found[1].decode()
