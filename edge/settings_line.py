"""The settings of one line: its camera, when parts come, and its first recipe."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal
from urllib.parse import parse_qsl

from pydantic import Field, field_validator, model_validator

from edge.address import check_address
from edge.settings_recipe import RecipeSettings
from edge.settings_section import Section


class CameraSettings(Section):
    """Where a line's frames come from."""

    source: str = Field(min_length=1)
    """`/dev/video0` (better a `/dev/v4l/by-id/...` path), `genicam:<id>` (GigE Vision and USB3 Vision, as `alfa-edge
    cameras` lists them), an `rtsp://` or `http(s)://` URL, `gst:<pipeline>`, a video file, a folder of images, or
    `sim:<class>?rate=2&defects=0.2&seed=7`."""
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
    bits: int | None = Field(default=None, ge=9, le=16)
    """Bits that pictures of 16 bits in a folder use, and those that are enrolled. Default: as the file says; else as
    the values do, which the log tells."""
    reader: Literal["auto", "av", "opencv"] = "auto"
    """What reads network streams and video files. `av` (the extra `av`) sees which frames are damaged, so that they
    are refused; `opencv` does not. `auto`: `av` where it is installed, else `opencv` with the alarm `camera_reader`."""
    loop: bool = False
    """Begin again at the end of a video file or folder."""
    trigger: Literal["free", "software", "line"] = "free"
    """When a GenICam camera exposes. `free`: one frame after the other, of which the newest is taken; `software`: when
    a part comes; `line`: at each signal at its input, which is a part (with `mode = "free"`; `rate` says nothing)."""
    features: Mapping[str, bool | int | float | str] = Field(default={})
    """What a GenICam camera is set to, in this order, and read back: `{ PixelFormat = "Mono8", ExposureTime = 5000 }`.
    The names are the camera's own. With `trigger = "line"`, `TriggerSource` names the input; default: its first."""
    packet_size: int | None = Field(default=None, ge=576, le=16000)
    """Bytes of a GigE Vision camera's packets; default: as many as the network lets through, found at each opening."""
    resend: bool = True
    """Whether packets of a GigE Vision camera that were lost are asked for again."""

    @field_validator("source")
    @classmethod
    def _address(cls, source: str) -> str:
        check_address(source)
        return source

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

    @model_validator(mode="after")
    def _of_genicam(self) -> CameraSettings:
        """What only a GenICam camera has is not silently ignored of others; how it is triggered is said once."""
        if not self.source.startswith("genicam:"):
            for name in ("trigger", "features", "packet_size", "resend"):
                if getattr(self, name) != type(self).model_fields[name].default:
                    raise ValueError(f"{name} is of a source genicam:<id>; this source has none")
            return self
        own = {"AcquisitionMode", "TriggerMode"} | ({"TriggerSource"} if self.trigger != "line" else set())
        if named := own & self.features.keys():
            raise ValueError(f"features.{min(named)} is set by trigger; set trigger to free, software or line")
        return self


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


class LineSettings(RecipeSettings):
    """One line: a camera, when parts come, and its first recipe."""

    camera: CameraSettings
    """The camera."""
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
    review_queue: int = Field(default=100, ge=1, le=100_000)
    """Parts that may wait for a person's review (`alfa-edge review`) without the alarm `review`."""

    @model_validator(mode="after")
    def _each_exposure_is_a_part(self) -> LineSettings:
        if self.camera.trigger == "line" and self.mode != "free":
            raise ValueError(
                'camera.trigger = "line" makes each exposure a part; set mode = "free", or camera.trigger = "software"'
            )
        return self

    @property
    def recipe(self) -> RecipeSettings:
        """Its first recipe, as configured."""
        return RecipeSettings(**{name: getattr(self, name) for name in RecipeSettings.model_fields})
