"""The settings of one line: its camera, what it looks at, and when it calls a part anomalous."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal
from urllib.parse import parse_qsl

from pydantic import AfterValidator, Field, model_validator

from edge.settings_method import MethodSettings
from edge.settings_section import Label, Section

LineName = Annotated[str, Field(pattern=r"^[a-z0-9-]{1,64}$")]


class CameraSettings(Section):
    """Where a line's frames come from."""

    source: str = Field(min_length=1)
    """`/dev/video0` (better a `/dev/v4l/by-id/...` path), an `rtsp://` or `http(s)://` URL, `gst:<pipeline>`, a video
    file, a folder of images, or `sim:<class>?rate=2&defects=0.2&seed=7`."""
    rate: float = Field(default=1.0, ge=0, le=1000)
    """Parts per second in free run; 0 means as fast as they are scored. A `sim:` source may name it instead."""
    open_timeout_s: float = Field(default=5.0, gt=0, le=120)
    """Seconds after which opening the source has failed."""
    read_timeout_s: float = Field(default=5.0, gt=0, le=120)
    """Seconds without a frame after which the source is opened anew."""
    retry_s: float = Field(default=1.0, gt=0, le=600)
    """Seconds before the first new attempt to open; doubles with each failure."""
    retry_max_s: float = Field(default=30.0, gt=0, le=3600)
    """The longest pause between two attempts."""
    transport: Literal["tcp", "udp"] = "tcp"
    """How RTSP carries the video."""
    width: int | None = Field(default=None, ge=16, le=32768)
    """Width asked of a V4L2 device, pixels."""
    height: int | None = Field(default=None, ge=16, le=32768)
    """Height asked of a V4L2 device, pixels."""
    loop: bool = False
    """Begin again at the end of a video file or folder."""

    @model_validator(mode="before")
    @classmethod
    def _rate_of_simulation(cls, data: Any) -> Any:
        """A simulated line's rate may stand in its source; the rest of the query is the source's own."""
        source = data.get("source") if isinstance(data, dict) else None
        if not isinstance(source, str) or not source.startswith("sim:"):
            return data
        rate = dict(parse_qsl(source.partition("?")[2])).get("rate")
        if rate is None:
            return data
        found = data.get("rate", rate)
        if found != rate and not (_is_number(rate) and found == float(rate)):  # equal when it was read before
            raise ValueError(f"rate stands in {source} and beside it; keep one of them")
        return {**data, "rate": rate}


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


class HealthSettings(Section):
    """When a live camera's frame is not judged. Each check answers the part with an `error`; 0 switches it off."""

    frozen_s: float = Field(default=10.0, ge=0, le=3600)
    """Seconds after which frames that are equal to the last bit mean that the picture stands still."""
    dark: float = Field(default=4.0, ge=0, le=255)
    """A frame whose mean brightness (0..255) is below it is black."""
    bright: float = Field(default=251.0, ge=0, le=255)
    """A frame whose mean brightness (0..255) is above it is white."""
    blur: float = Field(default=0.0, ge=0)
    """A frame whose sharpness (variance of the Laplacian, as `alfa-edge status` shows it) is below it is blurred."""
    torn: bool = True
    """Refuse frames whose lower part is missing: one row repeated to the bottom."""
    size: tuple[int, int] | None = None
    """Width and height that frames must have, pixels. Default: any."""


class Roi(Section):
    """The inspected region of the frame, pixels."""

    x: int = Field(ge=0)
    """Left edge."""
    y: int = Field(ge=0)
    """Top edge."""
    width: int = Field(ge=16)
    """Width."""
    height: int = Field(ge=16)
    """Height."""


class ShotSettings(Section):
    """How the normal shots of a line are used."""

    augment: Literal["none", "flips", "rotations", "all", "angles"] = "none"
    """Each shot also mirrored, or turned by quarters, or both, or (`angles`) by every 30 degrees, where parts come like
    that: 1, 3, 4, 8 or 12 views of it."""
    limit: int = Field(default=20_000, ge=1, le=100_000)
    """The most features of a kind that a part is compared with; more are thinned to a coreset."""


MOST_TILES = 64
"""Of a frame; the same as of `core.tiles`, without its imports."""


def _not_too_many(tiles: tuple[int, int]) -> tuple[int, int]:
    if tiles[0] * tiles[1] > MOST_TILES:
        raise ValueError(f"{tiles[0]} x {tiles[1]} tiles are more than {MOST_TILES}; each is a row of the pass")
    return tiles


_Count = Annotated[int, Field(ge=1, le=MOST_TILES)]


class LineSettings(Section):
    """One line: a camera, what it looks at, and when it calls a part anomalous."""

    camera: CameraSettings
    """The camera."""
    health: HealthSettings = HealthSettings()
    """When a live camera's frame is not judged."""
    mode: Literal["free", "trigger"] = "free"
    """`free`: parts at the camera's rate; `trigger`: one part for each trigger (MQTT or console)."""
    deadline_ms: int = Field(default=2000, ge=10, le=600_000)
    """Milliseconds after a trigger by which its verdict is issued, if need be as `error` `deadline`."""
    frame_within_ms: int | None = Field(default=None, ge=1, le=600_000)
    """Milliseconds after its trigger by which the picture of a part is exposed; one that comes later shows the next
    part, and the answer is `error` `camera_late`. Default: twice the camera's interval, as measured, but no
    less than 250 ms and no more than half of the deadline."""
    queue: int = Field(default=8, ge=1, le=1000)
    """Triggers that may wait; one more is answered at once with `error` `queue_full`. So is one that cannot be judged
    by its deadline, as the parts of all lines before it take too long."""
    pack: str = "generic"
    """Name of a prompt pack, or the path of a pack file."""
    threshold: float = Field(default=0.5, ge=0, le=1)
    """A part whose score is at or above it is anomalous."""
    threshold_source: Label = "uncalibrated"
    """Where the threshold comes from; every verdict says it. With `uncalibrated` the verdicts are provisional."""
    pixel_threshold: float | None = Field(default=None, ge=0, le=1)
    """Heatmap values at or above it form regions. Default: the threshold."""
    method: MethodSettings | None = None
    """The method that judges this line. Default: that of the table `method`."""
    shots: ShotSettings = ShotSettings()
    """Its normal shots."""
    expected_defects: float = Field(default=0.02, ge=0, lt=1)
    """Share of parts that are really defective, at most: alarms up to it are no drift."""
    review_queue: int = Field(default=100, ge=1, le=100_000)
    """Parts that may wait for a person's review (`alfa-edge review`) without the alarm `review`."""
    roi: Roi | None = None
    """The inspected region. Default: the whole frame."""
    tiles: Literal["auto"] | Annotated[tuple[_Count, _Count], AfterValidator(_not_too_many)] = (1, 1)
    """Rows and columns into which the inspected region is cut, for defects that are small in it. Each tile is seen at
    the model's full size, and takes as long as a part without tiles. `auto` cuts along the longer side, into nearly
    square tiles. `alfa-edge doctor` says the smallest defect that is seen. Other tiles need a new calibration."""
    overlap: float = Field(default=0.2, ge=0, le=0.5)
    """What neighbouring tiles share, in shares of a tile's side."""

    @property
    def inspected_size(self) -> tuple[int, int] | None:
        """Height and width of the pictures that are inspected, pixels; None where no setting tells."""
        if self.roi is not None:
            return self.roi.height, self.roi.width
        return None if self.health.size is None else (self.health.size[1], self.health.size[0])
