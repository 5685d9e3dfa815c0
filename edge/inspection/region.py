"""The inspected region of a frame."""

from __future__ import annotations

from core.image import Rgb
from edge.settings import Roi


class RegionError(ValueError):
    """The inspected region does not lie inside the frame; the message says both."""


def inspected(image: Rgb, roi: Roi | None) -> Rgb:
    """The inspected region of a frame, as a view of it; None: all of it.

    Raises:
        RegionError: it does not lie inside.
    """
    if roi is None:
        return image
    height, width = image.shape[:2]
    if roi.y + roi.height > height or roi.x + roi.width > width:
        raise RegionError(f"the region {roi} is not inside the frame of {width} x {height}")
    return image[roi.y : roi.y + roi.height, roi.x : roi.x + roi.width]
