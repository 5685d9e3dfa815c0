"""Whether a frame shows what it should: one that stands still, is black, white, blurred or torn is not judged.

The camera's process measures, `FrameHealth`; what comes of it, `frame_fault`, depends on the limits, which are those of
the recipe that a part is judged by.
"""

from __future__ import annotations

import zlib
from collections import OrderedDict
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from core.image import Rgb
from core.picture_check import ShotFigures, flat, other_size, over_exposed
from core.structure import structure_of
from edge.settings import HealthSettings

FrameCode: TypeAlias = Literal[
    "camera_frozen",
    "camera_black",
    "camera_white",
    "camera_blurred",
    "camera_torn",
    "camera_size",
    "camera_flat",
]
_ROWS = 16  # a frame is torn when the lowest of so many parts of it is one row repeated
_BLACK, _WHITE = 20, 235  # bars at the edge of a picture are not darker, or brighter, than this
_STILLS = 64  # pictures that are remembered: an encoder makes a few of one that stands still
_STILL_FRAMES = 3  # fewer frames tell nothing of whether the picture stands still
_ALIKE = 2.0  # mean difference of two of these, of 255
_MEAN = np.full((1, 3), 1 / 3, np.float32)


@dataclass(frozen=True)
class FrameFault:
    """Why a frame is not judged."""

    code: FrameCode
    """Stable, for machines."""
    message: str
    """For people; holds nothing that changes from frame to frame."""


@dataclass(frozen=True)
class Health:
    """What was found of a frame."""

    fault: FrameFault | None = None
    """What is against it by the limits that the camera knows; None: nothing. A part is judged by its recipe's."""
    sharpness: float = 0.0
    """Variance of the Laplacian of its grey picture at half its size; 0 is flat, there is no upper end."""
    brightness: float = 0.0
    """Mean of all its pixels and colours, 0..255."""
    still_s: float = 0.0
    """Seconds for which the picture of a live source has stood still, once it has for three frames."""
    torn: bool = False
    """Whether the lower part of a live source's picture is missing."""
    damage: str | None = None
    """Why it is no whole picture, where its source says so."""


UNSEEN = Health()
"""Of no frame yet."""


def frame_fault(health: Health, limits: HealthSettings, size: tuple[int, int], live: bool) -> FrameFault | None:
    """The first of what is amiss with a frame; what explains the rest comes first.

    Args:
        health: What was found of it.
        limits: What it has to be like.
        size: Its width and height, pixels.
        live: Whether its source goes on by itself.
    """
    if health.damage is not None:
        remedy = "check cable, USB port and network" if live else "copy the file anew"
        return FrameFault("camera_torn", f"{health.damage}; {remedy}")
    if limits.size is not None and size != limits.size:
        wanted = f"{limits.size[0]} x {limits.size[1]}"
        return FrameFault("camera_size", f"the frame has {size[0]} x {size[1]} pixels, not the {wanted} of health.size")
    if live and limits.torn and health.torn:
        return FrameFault("camera_torn", "the lower part of the frame is missing; check cable, USB port and network")
    if live and health.brightness < limits.dark:
        message = f"the picture is black (mean below {limits.dark:g} of 255); check light, lens cap and exposure"
        return FrameFault("camera_black", message)
    if live and 0 < limits.bright < health.brightness:
        message = f"the picture is white (mean above {limits.bright:g} of 255); check light and exposure"
        return FrameFault("camera_white", message)
    if limits.frozen_s and health.still_s >= limits.frozen_s:
        message = f"the picture has stood still to the last bit for {limits.frozen_s:g} s"
        return FrameFault("camera_frozen", f"{message}; restart the camera, or raise health.frozen_s")
    if health.sharpness < limits.blur:
        message = f"the picture is blurred (sharpness below {limits.blur:g}); check focus and clean the lens"
        return FrameFault("camera_blurred", message)
    return None


def region_fault(
    region: Rgb, limits: HealthSettings, shots: ShotFigures | None, whole: bool = False
) -> FrameFault | None:
    """Why the inspected region of a frame is not judged, whatever source it is of; None: it is.

    Args:
        region: uint8 [H, W, 3].
        limits: What it has to be like.
        shots: What the recipe's shots have in common; None without shots.
        whole: Whether it is the whole frame, so that its size is the camera's.
    """
    structure = structure_of(region)
    if whole and limits.enrolled_size and (fault := other_size(structure, shots)):
        remedy = "set the camera's size, or lines.<line>.roi; or switch health.enrolled_size off"
        return FrameFault("camera_size", f"the picture {fault.message}; {remedy}")
    if limits.flat and (fault := flat(structure, shots)):
        return FrameFault(
            "camera_flat", f"the picture {fault.message}; for parts that are so plain, set health.flat = false"
        )
    if 0 < limits.saturated < 1 and (fault := over_exposed(structure, shots, limits.saturated)):
        return FrameFault("camera_white", f"the picture {fault.message}")
    return None


class FrameHealth:
    """Looks at the frames of one camera, in their order."""

    def __init__(self, limits: HealthSettings) -> None:
        self.limits = limits
        """By which `Health.fault` is told; they may be replaced between two frames."""
        # Checksums of the last pictures, small and grey, and of the whole ones where it was needed; the newest last.
        self._stills: OrderedDict[int, int | None] = OrderedDict()
        self._before: NDArray[np.uint8] | None = None  # the last picture, small and grey
        self._since = 0.0  # when the picture began to stand still
        self._frames = 0  # that it has stood still for

    def check(self, image: Rgb, grabbed: float, live: bool, damage: str | None = None) -> Health:
        """What is amiss with `image`, which was grabbed at `grabbed` seconds of `edge.clock.monotonic`.

        `damage`: why it is no whole picture, as its source says; then what it shows says nothing.

        Frames of a source that is not live (a file, the simulated line) may be dark, flat or all alike; only
        their size, sharpness and damage are looked at. Takes about 2 ms at 1280 x 1024.
        """
        height, width, _ = image.shape
        if damage is not None:
            found = Health(damage=damage)
            return replace(found, fault=frame_fault(found, self.limits, (width, height), live))
        half = cv2.resize(
            image[: height // 2 * 2 or 1, : width // 2 * 2 or 1],  # an odd row or column would take four times as long
            (max(1, width // 2), max(1, height // 2)),
            interpolation=cv2.INTER_AREA,
        )
        grey = np.asarray(cv2.transform(half, _MEAN), np.uint8)  # plain means: red light is light, too
        brightness = float(cv2.mean(grey)[0])
        sharpness = float(cv2.meanStdDev(cv2.Laplacian(grey, cv2.CV_16S))[1][0, 0] ** 2)
        still_s = self._stands_still(image, grey, grabbed) if live else 0.0
        found = Health(None, sharpness, brightness, still_s, live and _is_torn(image))
        return replace(found, fault=frame_fault(found, self.limits, (width, height), live))

    def _stands_still(self, image: Rgb, grey: NDArray[np.uint8], grabbed: float) -> float:
        """Seconds for which no picture came that differs in a single bit from all the last ones.

        The one before does not suffice: of a camera that repeats its picture, an H.264 encoder makes a few that
        differ in a bit and come again with each key frame. They are alike; so a video in a loop is none of that.
        """
        before, self._before = self._before, grey
        small = zlib.crc32(grey.data)  # tells nearly all pictures apart, and spares the whole one's
        checksum = zlib.crc32(image.data) if small in self._stills else None
        same = (
            before is not None
            and before.shape == grey.shape
            and self._stills.get(small, -1) in (None, checksum)
            and cv2.norm(before, grey, cv2.NORM_L1) <= _ALIKE * grey.size
        )
        self._stills[small] = checksum
        self._stills.move_to_end(small)
        if len(self._stills) > _STILLS:
            self._stills.popitem(last=False)
        if not same:
            self._since, self._frames = grabbed, 0
        self._frames += 1
        return grabbed - self._since if self._frames >= _STILL_FRAMES else 0.0


def _is_torn(image: Rgb) -> bool:
    """Whether the lowest rows are one row repeated, as decoders leave what did not come: but for black or white
    bars, and for pictures that hardly change from row to row above them, either."""
    rows = -(-len(image) // _ROWS)
    last = image[-1]
    if len(image) <= rows or not np.array_equal(last, image[-rows - 1]):
        return False  # nearly always
    if last.max() <= _BLACK or last.min() >= _WHITE or not np.array_equal(image[-rows:], image[-rows - 1 : -1]):
        return False
    repeats = (image[1:] == image[:-1]).all(axis=(1, 2))
    rest = len(repeats) - int(np.argmin(repeats[::-1]))  # without the repeated ones at the bottom
    return not repeats.all() and float(repeats[:rest].mean()) < 0.5
