"""What goes over the channel: a request with an id, a reply with the same id, and pictures as parts behind either."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from core.printable import shown
from core.regular_file import read_regular
from edge.control.asker import MOST, Asker, user_of

MAX_BYTES = 64 * 1024 * 1024
"""Of one message with all its parts."""
MAX_PARTS = 256
"""Pictures behind a request or reply."""
_MAX_HEAD = 1024 * 1024  # bytes that a request may have besides its pictures
MAX_ID = 64
"""Characters."""
NO_ID = "-"
"""Of a reply to what has no id."""


def _printable_lines(text: str) -> str:
    """Names of files and messages of errors may hold anything, also what UTF-8 cannot say."""
    return "\n".join(shown(line) for line in text.split("\n"))


class _Message(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    def to_parts(self, blobs: Sequence[bytes] = ()) -> list[bytes]:
        """The multipart message."""
        return [self.model_dump_json(exclude_none=True).encode(), *blobs]


class Request(_Message):
    """What is asked, and by whom, as they say; pictures may follow as parts of their own."""

    id: str = Field(min_length=1, max_length=MAX_ID)
    command: str = Field(min_length=1, max_length=64)
    arguments: dict[str, Any] = {}
    who: str = Field(default="unknown", min_length=1, max_length=MOST)

    @property
    def asker(self) -> Asker:
        """Who asks; of what did not come over a wire, whoever it says."""
        return Asker(self.who)


class ConsoleRequest(Request):
    """A request of a process on this machine, whose user the kernel has told."""

    uid: int

    @property
    def asker(self) -> Asker:
        """The kernel's word, and the claim beside it."""
        return user_of(self.uid, self.who)


class MachineRequest(Request):
    """A request that came over MQTT."""

    @property
    def asker(self) -> Asker:
        """A machine."""
        return Asker("mqtt", machine=True)


class Refusal(_Message):
    """Why there is no result."""

    code: str = Field(pattern=r"^[a-z0-9_]+$")
    """Stable, for machines."""
    message: Annotated[str, AfterValidator(_printable_lines)]
    """For people: what is wrong and what to do."""


class Reply(_Message):
    """The answer to the request with the same id: a result or a refusal."""

    id: str
    result: dict[str, Any] | None = None
    refusal: Refusal | None = None


def identity_of(document: bytes) -> str:
    """The `id` of a message that is refused, for the reply; `-` where there is none that can be used."""
    try:
        found = json.loads(document)
    except (ValueError, RecursionError):
        return NO_ID
    identity = found.get("id") if isinstance(found, dict) else None
    return identity if isinstance(identity, str) and 1 <= len(identity) <= MAX_ID else NO_ID


def read_request(parts: Sequence[bytes], uid: int | None) -> ConsoleRequest | Reply:
    """The request of a message of one part or more, or the reply that refuses it.

    Args:
        parts: Of the message.
        uid: The user who has sent it; None: nobody knows, and so it is refused.
    """
    identity = identity_of(parts[0])
    if too_large := too_large_in_words(parts):
        return Reply(id=identity, refusal=Refusal(code="too_large", message=too_large))
    try:
        if uid is None:
            raise ValueError("it does not come through the console's socket")
        request = Request.model_validate_json(parts[0])
        return ConsoleRequest(**dict(request), uid=uid)
    except (ValueError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        if isinstance(error, ValidationError):
            reason = error.errors(include_input=False, include_url=False)[0]["msg"]
        return Reply(id=identity, refusal=Refusal(code="bad_request", message=f"no request: {reason}"))


def too_large_in_words(parts: Sequence[bytes]) -> str | None:
    """What is too large about a message; None when nothing is."""
    size = sum(map(len, parts))
    if len(parts) <= MAX_PARTS + 1 and size <= MAX_BYTES:
        return None
    return (
        f"{len(parts) - 1} pictures, {size / (1 << 20):.1f} MiB in all; one request takes at most {MAX_PARTS} pictures "
        f"and {MAX_BYTES >> 20} MiB"
    )


def sendable(path: Path) -> bytes:
    """A picture's file, which is no larger than one request may be.

    Raises:
        ImageError: it is, or it cannot be read.
    """
    try:
        return read_regular(path, MAX_BYTES)
    except OSError as error:
        from core.image import ImageError  # whose OpenCV takes a while

        raise ImageError(f"{path}: {error.strerror or error}") from error


def batches(pictures: Sequence[bytes]) -> list[list[bytes]]:
    """`pictures` in their order, divided so that each list fits into one request; one that fits nowhere is alone."""
    found: list[list[bytes]] = []
    size = 0
    for picture in pictures:
        if not found or len(found[-1]) == MAX_PARTS or size + len(picture) > MAX_BYTES - _MAX_HEAD:
            found.append([])
            size = 0
        found[-1].append(picture)
        size += len(picture)
    return found
