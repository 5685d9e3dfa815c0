"""Connections on which no request comes: they make way, so that silent strangers keep nobody out."""

from __future__ import annotations

import asyncio

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

HEAD_S = 10.0
"""Seconds in which the head of a request has to come, from the connection or the last answer on."""
_NONE_YET = object()
_NO_HANDSHAKE = b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


class PatientProtocol(H11Protocol):
    """HTTP/1.1 as uvicorn has it, and an end to each wait for the head of a request."""

    head_s = HEAD_S

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.loop.call_later(self.head_s, self._look, _NONE_YET)

    def handle_websocket_upgrade(self, event: h11.Request) -> None:
        """What is no handshake is answered; uvicorn would leave such a connection open, without a word, for ever."""
        super().handle_websocket_upgrade(event)
        if not getattr(self.transport.get_protocol(), "handshake_initiated", True):
            self.transport.write(_NO_HANDSHAKE)
            self.transport.close()

    def _look(self, waited_after: object) -> None:
        """`waited_after`: the answer after which nothing had come by the last look; None: one was under way."""
        if self.transport.is_closing():
            return
        if (successor := self.transport.get_protocol()) is not self:  # a WebSocket has taken it over
            if not getattr(successor, "handshake_complete", True):
                self.transport.close()
            return
        under_way = self.cycle is not None and not self.cycle.response_complete
        waits_after = None if under_way else self.cycle or _NONE_YET
        if waits_after is not None and waits_after is waited_after:
            self.transport.close()
            return
        self.loop.call_later(self.head_s, self._look, waits_after)
