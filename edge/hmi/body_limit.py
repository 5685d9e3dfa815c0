"""How much a request may bring, and how long it may take: pictures as a command takes them, everything else little."""

from __future__ import annotations

import asyncio

from starlette.types import Message, Receive, Scope

from edge.clock import monotonic
from edge.control.protocol import MAX_BYTES
from edge.hmi.refusals import Refused

SMALL = 64 * 1024
"""Bytes of a request without pictures."""
SMALL_S = 20.0
"""Seconds that it may take to come."""
PICTURES_S = 300.0
"""Seconds that one with pictures may take."""
_PICTURES = ("/api/v1/commands/enroll", "/api/v1/commands/learn")
"""What pictures are sent to."""


def limited(scope: Scope, receive: Receive) -> Receive:
    """`receive`, which refuses a body that is too large, or too slow, as soon as that shows.

    Raises:
        Refused: in the call that would go beyond the limit.
    """
    most, most_s = (MAX_BYTES, PICTURES_S) if scope["path"] in _PICTURES else (SMALL, SMALL_S)
    end = monotonic() + most_s
    taken, more = 0, True

    async def receiving() -> Message:
        nonlocal taken, more
        if not more:
            return await receive()  # waits for the end of the connection
        try:
            message = await asyncio.wait_for(receive(), max(0.0, end - monotonic()))
        except asyncio.TimeoutError:
            raise Refused(408, "too_slow", f"the request did not come within {most_s:g} s", _CLOSE) from None
        if message["type"] == "http.request":
            taken += len(message.get("body", b""))
            more = message.get("more_body", False)
            if taken > most:
                raise too_large(most)
        return message

    return receiving


def too_large(most: int) -> Refused:
    """What a request of more than `most` bytes is answered."""
    size = f"{most >> 20} MiB" if most >= 1 << 20 else f"{most >> 10} KiB"
    return Refused(413, "too_large", f"the request is larger than {size}", _CLOSE)


_CLOSE = {"connection": "close"}  # what else comes is not read
