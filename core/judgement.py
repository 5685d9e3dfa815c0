"""What a detector says of one picture."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from functools import cached_property
from html import escape
from typing import Literal

import cv2
import numpy as np

from core.explain import Reason
from core.explain import reasons as nearest
from core.image import Map, Rgb, encode_jpeg
from core.inspection import Inspection
from core.overlay import Caption, overlay
from core.regions import Region, find_regions

_SHOWN = 480  # pixels of the longer side of what a notebook shows


@dataclass(frozen=True, eq=False, repr=False)
class Judgement:
    """What a detector says of one picture. Its arrays are read-only.

    Attributes:
        picture: What was judged, uint8 [H, W, 3], RGB.
        inspection: All that the method says: the parts of the score, the kept prompts.
        threshold: The picture is an anomaly at and above it; in [0, 1], or just above 1.
        region_threshold: That of the heatmap's regions.
        provisional: Whether the threshold is neither calibrated nor set by hand: the verdict then says little.
        phrases: The descriptors that `reasons` are taken from.
    """

    picture: Rgb
    inspection: Inspection
    threshold: float
    region_threshold: float
    provisional: bool
    phrases: tuple[str, ...]

    @property
    def score(self) -> float:
        """How anomalous the picture is, in [0, 1]."""
        return self.inspection.score

    @property
    def verdict(self) -> Literal["normal", "anomaly"]:
        """`anomaly` where the score is at or above the threshold."""
        return "anomaly" if self.score >= self.threshold else "normal"

    @cached_property
    def heatmap(self) -> Map:
        """How anomalous each pixel is, float32 [H, W] in [0, 1], of the picture's height and width."""
        heatmap = self.inspection.heatmap
        heatmap.flags.writeable = False
        return heatmap

    @cached_property
    def regions(self) -> tuple[Region, ...]:
        """Where an anomaly is, the most anomalous region first; nothing for a normal picture."""
        return find_regions(self.heatmap, self.region_threshold) if self.verdict == "anomaly" else ()

    @cached_property
    def reasons(self) -> tuple[Reason, ...]:
        """The five descriptors of the pack nearest to an anomaly, nearest first; nothing for a normal picture."""
        likeness = self.inspection.likeness if self.verdict == "anomaly" else None
        return () if likeness is None else nearest(likeness, self.phrases)

    def overlay(self, *, caption: bool = True) -> Rgb:
        """The picture with its heatmap drawn on it and a caption below, uint8 [H + h, W + w, 3], RGB; a new array.

        The picture is its top left corner: `w` is 0 unless the words need more width. A contour is where the heatmap
        reaches `region_threshold`. Colours of one threshold are the same in every picture: `core.overlay`.

        Args:
            caption: Whether to say verdict, score and threshold; without, the array is [H, W, 3].
        """
        said = Caption(self.verdict, self.score, self.threshold, self.provisional) if caption else None
        return overlay(self.picture, self.heatmap, self.region_threshold, said)

    def __repr__(self) -> str:
        height, width = self.inspection.size
        limit = f"{self.threshold:.3f}{', provisional' if self.provisional else ''}"
        where = f", {self.regions[0].position}" if self.regions else ""
        return f"<{self.verdict}: score {self.score:.3f} (threshold {limit}){where}; {width} x {height} pixels>"

    def _repr_html_(self) -> str:
        """What a notebook shows: the words, and the overlay."""
        height, width = self.inspection.size
        scale = min(1.0, _SHOWN / max(height, width))
        size = max(1, round(width * scale)), max(1, round(height * scale))
        picture = np.asarray(cv2.resize(self.picture, size, interpolation=cv2.INTER_AREA), np.uint8)
        heatmap = np.asarray(cv2.resize(self.heatmap, size, interpolation=cv2.INTER_AREA), np.float32)
        small = overlay(picture, heatmap, self.region_threshold)
        data = base64.b64encode(encode_jpeg(small)).decode()
        return f'<p>{escape(repr(self)[1:-1])}</p><img src="data:image/jpeg;base64,{data}">'
