"""How much a request may bring: pictures as much as a command takes, everything else little."""

from __future__ import annotations

from starlette.types import Message, Receive, Scope

from edge.control.protocol import MAX_BYTES
from edge.hmi.refusals import Refused

SMALL = 64 * 1024
"""Bytes of a request without pictures."""
_PICTURES = ("/api/v1/commands/enroll", "/api/v1/commands/learn")
"""What pictures are sent to; pages send them there too."""


def limited(scope: Scope, receive: Receive) -> Receive:
    """`receive`, which refuses a body that is too large as soon as that shows.

    Raises:
        Refused: in the call that would go beyond the limit.
    """
    most = MAX_BYTES if scope["path"] in _PICTURES else SMALL
    taken = 0

    async def receiving() -> Message:
        nonlocal taken
        message = await receive()
        if message["type"] == "http.request":
            taken += len(message.get("body", b""))
            if taken > most:
                raise too_large(most)
        return message

    return receiving


def too_large(most: int) -> Refused:
    """What a larger request is answered."""
    size = f"{most >> 20} MiB" if most >= 1 << 20 else f"{most >> 10} KiB"
    return Refused(413, "too_large", f"the request is larger than {size}", {"connection": "close"})
