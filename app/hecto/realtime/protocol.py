"""The Socket.IO server: python-socketio's, on our engine, deaf to what no client may send."""

from __future__ import annotations

import socketio
from socketio.packet import ACK, BINARY_ACK, BINARY_EVENT, CONNECT, DISCONNECT, EVENT

from hecto.realtime.engine import Engine
from hecto.realtime.packets import MalformedError


class Server(socketio.Server):  # type: ignore[misc]
    """Reads packets by itself, since the library's reader logs a traceback for each that is wrong and goes on."""

    def _handle_eio_message(self, eio_sid: str, data: str | bytes) -> None:
        """Act on a packet, or on an attachment of one; raises MalformedError."""
        packet = self._binary_packet.pop(eio_sid, None)
        if packet is None:
            packet = self.packet_class(encoded_packet=data)
            complete = packet.packet_type not in (BINARY_EVENT, BINARY_ACK)
        else:
            complete = packet.add_attachment(data)
        kind = packet.packet_type
        if not complete:
            if self.manager.sid_from_eio_sid(eio_sid, packet.namespace or "/") is None:
                raise MalformedError("attachments of somebody who has not connected")
            self._binary_packet[eio_sid] = packet
        elif kind in (EVENT, BINARY_EVENT):
            self._handle_event(eio_sid, packet.namespace, packet.id, packet.data)
        elif kind in (ACK, BINARY_ACK):
            self._handle_ack(eio_sid, packet.namespace, packet.id, packet.data)
        elif kind == CONNECT:
            self._handle_connect(eio_sid, packet.namespace, packet.data)
        elif kind == DISCONNECT:
            self._handle_disconnect(eio_sid, packet.namespace, self.reason.CLIENT_DISCONNECT)

    def _handle_connect(self, eio_sid: str, namespace: str | None, data: dict[str, object] | None) -> None:
        super()._handle_connect(eio_sid, namespace, data)
        # Somebody who left meanwhile would be a member of rooms for ever: the library overlooks the end of a connection
        # while it looks who connects.
        if eio_sid not in self.environ:
            sid = self.manager.sid_from_eio_sid(eio_sid, namespace or "/")
            if sid is not None:
                self.manager.disconnect(sid, namespace or "/")

    def _engineio_server_class(self) -> type[Engine]:
        return Engine


# Flask-SocketIO takes what it finds here, and no other.
socketio.Server = Server
