"""What goes over the live feed: verdicts as they are sent to the broker, and pictures with their maps."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

SOCKET = "feed.sock"
Kind = Literal["verdict", "picture"]


class FeedError(ValueError):
    """A message of the feed that this version does not understand."""


@dataclass(frozen=True)
class FeedVerdict:
    """A verdict of a line, as on the wire."""

    line: str
    verdict: dict[str, Any]


@dataclass(frozen=True)
class FeedPicture:
    """The picture of a line's part, and the map of what was found in it.

    Attributes:
        head: `line`, `seq`, `id`, `issued_at`, `verdict`, `score`, `threshold` of the verdict; `width` and `height` of
            the JPEG; `frame`, width and height of the camera's picture, and `region`, x, y, width and height of what
            the JPEG shows of it, pixels, or null where that is all of it; `map`, rows and columns of the map, and
            `pixel_threshold` of its values, or null without one.
        jpeg: What was inspected, at most 640 pixels along its longer side.
        map: PNG, 8-bit grey, 0..255 for 0..1. Its cells tile the JPEG. Empty without a map.
    """

    line: str
    head: dict[str, Any]
    jpeg: bytes
    map: bytes


def topic_of(line: str, kind: Kind | None = None) -> bytes:
    """What a message begins with; without a kind that of all the line's messages."""
    return f"line/{line}/{kind or ''}".encode()


def read_message(parts: Sequence[bytes]) -> FeedVerdict | FeedPicture:
    """The verdict or picture of a multipart message.

    Raises:
        FeedError: it is neither.
    """
    try:
        topic, document, *blobs = parts
        _, line, kind = topic.decode().split("/")
        head = json.loads(document)
    except (ValueError, RecursionError) as error:
        raise FeedError(f"no message of the feed: {type(error).__name__}") from error
    if kind == "verdict" and isinstance(head, dict) and not blobs:
        return FeedVerdict(line, head)
    if kind == "picture" and isinstance(head, dict) and len(blobs) == 2:
        return FeedPicture(line, head, *blobs)
    raise FeedError(f"no message of the feed: {kind!r} with {len(blobs)} pictures; is the service of another version?")
