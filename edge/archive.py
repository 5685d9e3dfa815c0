"""Pictures on disk: heatmap overlays of anomalies, one folder a line and day."""

from __future__ import annotations

from pathlib import Path

from core.image import Map, Rgb, encode_jpeg, overlay
from edge.verdict import Verdict


class Archive:
    """Keeps overlays below `root`, or nothing when `root` is None."""

    def __init__(self, root: Path | None) -> None:
        self.root = root

    def path(self, line: str, day: str, name: str) -> str | None:
        """Where the overlay called `name` will be, below the root; None when nothing is kept."""
        return None if self.root is None else f"{line}/{day}/{name}.jpg"

    def keep(self, verdict: Verdict, image: Rgb, heatmap: Map) -> None:
        """Writes the overlay that `verdict` names; red is at and above its threshold.

        Raises:
            OSError: the disk does not take it.
        """
        if self.root is None or verdict.heatmap is None or verdict.heatmap.archive is None:
            return
        target = self.root / verdict.heatmap.archive
        target.parent.mkdir(parents=True, exist_ok=True)
        draft = target.with_suffix(".part")
        draft.write_bytes(encode_jpeg(anomaly_overlay(image, heatmap, verdict.threshold)))
        draft.replace(target)


def anomaly_overlay(image: Rgb, heatmap: Map, threshold: float) -> Rgb:
    """`image` under its heatmap, from the heatmap's own least value in blue to the threshold, or above it, in red."""
    return overlay(image, heatmap, low=float(heatmap.min()), high=max(float(heatmap.max()), threshold))
