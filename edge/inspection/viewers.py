"""Who looks on as a line's parts are judged, and what they are shown of each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from core.image import Map, Rgb
from edge.messages import Verdict


@dataclass(frozen=True, eq=False)
class ShownPart:
    """A part that has its verdict.

    Attributes:
        verdict: As it was issued.
        image: What was inspected, or of a part that was not judged all of its frame; None: it has no picture. It is not
            copied, and stays as it is.
        corner: x and y of the image in the frame, pixels.
        patch_map: What was found in it, float32 [rows, cols] in [0, 1]: its cells tile the image. None: nothing.
        pixel_threshold: From which value on the map's regions are anomalous.
    """

    verdict: Verdict
    image: Rgb | None = None
    corner: tuple[int, int] = (0, 0)
    patch_map: Map | None = None
    pixel_threshold: float | None = None


class Viewers(Protocol):
    """Those who look on."""

    def show(self, part: ShownPart) -> None:
        """Shows them a part; returns at once, in any thread."""
