"""What goes over the channel: a request with an id, a reply with the same id, and pictures as parts behind either."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

MAX_BYTES = 64 * 1024 * 1024
"""Of one message with all its parts."""
MAX_PARTS = 256
"""Pictures behind a request or reply."""


class _Message(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    def to_parts(self, blobs: Sequence[bytes] = ()) -> list[bytes]:
        """The multipart message."""
        return [self.model_dump_json(exclude_none=True).encode(), *blobs]


class Request(_Message):
    """What is asked, and by whom; pictures may follow as parts of their own."""

    id: str = Field(min_length=1, max_length=64)
    command: str = Field(min_length=1, max_length=64)
    arguments: dict[str, Any] = {}
    who: str = Field(default="unknown", min_length=1, max_length=64)


class Refusal(_Message):
    """Why there is no result."""

    code: str = Field(pattern=r"^[a-z0-9_]+$")
    """Stable, for machines."""
    message: str
    """For people: what is wrong and what to do."""


class Reply(_Message):
    """The answer to the request with the same id: a result or a refusal."""

    id: str
    result: dict[str, Any] | None = None
    refusal: Refusal | None = None


def read_request(parts: Sequence[bytes]) -> Request | Reply:
    """The request of a multipart message, or the reply that refuses it."""
    if not parts or len(parts) > MAX_PARTS + 1 or sum(map(len, parts)) > MAX_BYTES:
        size = sum(map(len, parts))
        message = f"{len(parts)} parts of {size} bytes; at most {MAX_PARTS} pictures and {MAX_BYTES >> 20} MiB"
        return Reply(id="-", refusal=Refusal(code="too_large", message=message))
    try:
        return Request.model_validate_json(parts[0])
    except (ValidationError, RecursionError) as error:
        reason = error.errors()[0]["msg"] if isinstance(error, ValidationError) else "nested too deeply"
        return Reply(id="-", refusal=Refusal(code="bad_request", message=f"no request: {reason}"))
