"""A frame on its way from a camera process to the service."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from typing import Any, TypeAlias

import numpy as np

from core.image import Rgb
from edge.camera.health import UNSEEN, FrameFault, Health

Parts: TypeAlias = Sequence[bytes | memoryview]  # of a ZMQ message
MAX_BYTES = 256 * 1024 * 1024  # the largest frame that is passed on: 9400 x 9400 pixels


class FrameError(ValueError):
    """A frame that cannot be passed on, or a message that is no frame."""


@dataclass(frozen=True)
class Frame:
    """One picture of a camera, and how it came."""

    image: Rgb = field(repr=False, compare=False)
    """The whole frame, H x W x 3, `uint8`, RGB."""
    number: int
    """Frames since this camera was opened, this one included; the first is 1. Those are counted that were grabbed, and
    of a camera that numbers its frames, those that did not come."""
    dropped: int
    """Frames passed over for newer ones since the one delivered before, or since the opening. Of a camera whose every
    frame is a part none is passed over: these did not come."""
    captured_at: datetime
    """When it was grabbed, aware, in UTC."""
    captured: float
    """When it was grabbed, seconds of `edge.clock.monotonic`, which all processes of a machine share. Of
    a stream that is always one frame behind: when the one before it was grabbed, so never too late."""
    decode_ms: float
    """Milliseconds that decoding took."""
    ready: float = 0.0
    """When it was decoded and could be delivered, seconds of `edge.clock.monotonic`."""
    simulated: bool = False
    """Whether no real camera took it."""
    name: str | None = None
    """What the source calls it, for instance the name of the file."""
    exposure: int | None = None
    """The camera's own number of it, where it gives one."""
    health: Health = UNSEEN
    """What was found of the picture; a frame with a fault is not to be judged."""

    def to_parts(self) -> Parts:
        """The multipart message: a JSON header and the raw pixels, row-major; the pixels are not copied.

        Raises:
            FrameError: not H x W x 3 of uint8, or larger than `MAX_BYTES`.
        """
        image = self.image
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or image.size == 0:
            raise FrameError(f"an array of {image.dtype} and shape {image.shape} is no RGB frame")
        height, width, _ = image.shape
        if image.nbytes > MAX_BYTES:
            raise FrameError(f"a frame of {width} x {height} pixels is larger than {MAX_BYTES >> 20} MiB")
        header = {
            "width": width,
            "height": height,
            "number": self.number,
            "dropped": self.dropped,
            "captured_at": self.captured_at.timestamp(),
            "captured": self.captured,
            "decode_ms": self.decode_ms,
            "ready": self.ready,
            "simulated": self.simulated,
            "name": self.name,
            "exposure": self.exposure,
            "health": asdict(self.health),
        }
        return [json.dumps(header).encode(), np.ascontiguousarray(image).data.cast("B")]

    @classmethod
    def from_parts(cls, parts: Parts) -> Frame:
        """The frame of a multipart message; its image is a copy that may be written to.

        Raises:
            FrameError: the message is no frame.
        """
        if len(parts) != 2:
            raise FrameError(f"{len(parts)} parts are no frame")
        try:
            header: dict[str, Any] = json.loads(bytes(parts[0]))
            height, width = int(header.pop("height")), int(header.pop("width"))
            stamp = datetime.fromtimestamp(header.pop("captured_at"), timezone.utc)
            health: dict[str, Any] = header.pop("health")
            fault = health.pop("fault")
            found = Health(fault=FrameFault(**fault) if fault is not None else None, **health)
            pixels = np.frombuffer(parts[1], np.uint8)
            if min(height, width) < 1 or pixels.size != height * width * 3:
                raise FrameError(f"{pixels.size} bytes are no frame of {width} x {height} pixels")
            return cls(image=pixels.reshape(height, width, 3).copy(), captured_at=stamp, health=found, **header)
        except FrameError:
            raise
        except (ValueError, TypeError, KeyError, AttributeError, OverflowError) as error:
            raise FrameError(f"the header of a frame is damaged: {error}") from error
