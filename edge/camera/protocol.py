"""What passes between a camera's handle in the service and its process.

Over stdin, once: the `Order`. Over one ZMQ PAIR: requests `{"want": n}`, `{"limits": {...}}` and `{"stop": true}` to
the process; back come reports (one part) and frames (two parts, see `edge.camera.frame`). Nothing is ever unpickled.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import zmq
from pydantic import BaseModel, ConfigDict, ValidationError

from edge.camera.frame import MAX_BYTES
from edge.camera.health import UNSEEN, Health
from edge.settings import CameraSettings, HealthSettings

CameraState: TypeAlias = Literal["starting", "running", "fault", "ended"]

BEAT_S = 0.5  # between two reports of a process that has nothing new to say
_MAX_REQUEST = 4096
_QUEUE = 64  # reports that may wait unread; older than that they say nothing


class LinkError(ValueError):
    """A message that is not of this link."""


class Message(BaseModel):
    """A frozen message."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Order(Message):
    """What a camera process is told when it is started. Holds credentials: never on argv, never in a log."""

    line: str
    address: str
    """ZMQ address of the handle's socket."""
    parent: int
    """Process id of the service; the camera process ends when it has another parent."""
    camera: CameraSettings
    health: HealthSettings = HealthSettings()
    taken: int = 0
    """Items of a source that is not live that were answered for: it goes on behind them."""


class FrameRequest(Message):
    """From the handle."""

    want: int | None = None
    """Number of the request for one frame; 1, 2, ..."""
    limits: HealthSettings | None = None
    """What frames have to be like from now on."""
    stop: bool = False
    """End."""


class Report(Message):
    """The state of the camera as its process sees it."""

    state: CameraState
    reason: str | None = None
    """Why there is a fault or an end; without credentials."""
    reconnects: int = 0
    """Attempts to open the source after the first of this process."""
    live: bool = False
    """Whether the source goes on by itself, so that frames grow old."""
    width: int | None = None
    """Pixels."""
    height: int | None = None
    """Pixels."""
    interval_s: float | None = None
    """Between two frames of a live source, seconds: the median of the last ones."""
    health: Health = UNSEEN
    """Of the newest frame that was looked at."""
    damaged: int = 0
    """Frames that were damaged on the way, or predicted from such a one, asked for or not."""
    notice: str | None = None
    """What people should know of how the source is read."""
    hung: str | None = None
    """What has not returned for so long that the process must be replaced."""
    answers: int | None = None
    """The request that gets this report and no frame."""


def pair(context: zmq.Context[zmq.Socket[bytes]], receives_frames: bool) -> zmq.Socket[bytes]:
    """A PAIR socket that never blocks its owner's end and takes no message that is too large."""
    socket = context.socket(zmq.PAIR)
    socket.setsockopt(zmq.LINGER, 0)
    socket.setsockopt(zmq.SNDHWM, _QUEUE)
    socket.setsockopt(zmq.RCVHWM, _QUEUE)
    socket.setsockopt(zmq.MAXMSGSIZE, MAX_BYTES if receives_frames else _MAX_REQUEST)
    return socket


def read_request(data: bytes) -> FrameRequest:
    """A request from its JSON.

    Raises:
        LinkError: it is none.
    """
    try:
        return FrameRequest.model_validate_json(data)
    except ValidationError as error:
        raise LinkError(f"not a request: {error}") from error


def read_report(data: bytes) -> Report:
    """A report from its JSON.

    Raises:
        LinkError: it is none.
    """
    try:
        return Report.model_validate_json(data)
    except ValidationError as error:
        raise LinkError(f"not a report: {error}") from error
