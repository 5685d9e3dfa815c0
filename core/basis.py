"""What a detector judges by: the method, the normal pictures, and the thresholds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from core.bank.memory import Index, Memory
from core.bank.tiled_index import AnyIndex, TiledIndex, left_out
from core.calibration import Calibration, pixel_threshold, provisional_threshold
from core.inspector import AnyInspector
from core.picture_check import ShotFigures
from core.structure import Structure
from core.tiles import Tiling

THRESHOLD = 0.5
"""Where neither shots nor a person say another; it knows nothing of the parts."""
_LIMIT = 20_000  # patches of a kind that parts are compared with, as on a line

Source = Literal["default", "shots", "hand", "calibrated"]
"""Where thresholds come from; see `Detector.threshold_source`."""


@dataclass(frozen=True, eq=False)
class Shot:
    """A normal picture.

    Attributes:
        digest: Tells it from others.
        memory: What the method remembers of it, or of its tiles.
        texts: Of each tile S_G and the largest S~_L, zero-shot.
        structure: What it shows at all.
    """

    digest: str
    memory: Memory
    texts: tuple[tuple[float, float], ...]
    structure: Structure


@dataclass(frozen=True, eq=False)
class Basis:
    """What pictures are judged by, replaced as a whole: no picture is judged by halves of two.

    Attributes:
        inspector: The method, with its tower once there are shots.
        shape: Height and width of the first shot, which feature maps are made for.
        shots: The normal pictures.
        figures: What they have in common.
        index: What the method compares with.
        threshold: A picture is an anomaly whose score is at or above it.
        region_threshold: That of the heatmap's regions.
        source: Where these two come from.
        calibration: What they promise; None where they promise nothing.
    """

    inspector: AnyInspector
    shape: tuple[int, int] | None = None
    shots: tuple[Shot, ...] = ()
    figures: ShotFigures | None = None
    index: AnyIndex | None = None
    threshold: float = THRESHOLD
    region_threshold: float = THRESHOLD
    source: Source = "default"
    calibration: Calibration | None = None

    @property
    def provisional(self) -> bool:
        """Whether the thresholds are neither calibrated nor set by hand."""
        return self.source in ("default", "shots")

    def with_shots(
        self, inspector: AnyInspector, shots: Sequence[Shot], shape: tuple[int, int], tiling: Tiling
    ) -> Basis:
        """The basis of these shots in the place of its own.

        Its thresholds are those set by hand, or just above what the shots score, each against the others.

        Args:
            inspector: What made their memories.
            shots: At least one.
            shape: What their feature maps are made for.
            tiling: Of them.
        """
        memories = [shot.memory for shot in shots]
        index = inspector.index(memories, range(len(shots)), shape, limit=_LIMIT, tiling=tiling)
        tiles = tuple(
            _heard(inspector, tile, [shot.texts[place] for shot in shots]) for place, tile in enumerate(index.tiles)
        )
        index = tiles[0] if tiling.count == 1 else TiledIndex(tiling, tiles)
        figures = ShotFigures.of([shot.structure for shot in shots])
        basis = replace(
            self,
            inspector=inspector,
            shape=shape,
            shots=tuple(shots),
            figures=figures,
            index=index,
            calibration=None,
        )
        return basis if self.source == "hand" else basis._with_threshold_of_shots(index)

    def _with_threshold_of_shots(self, index: AnyIndex) -> Basis:
        if len(self.shots) < 2 or any(tile.evidence is None for tile in index.tiles):
            return replace(self, threshold=THRESHOLD, region_threshold=THRESHOLD, source="default")
        scores, peaks = zip(*left_out(index), strict=True)
        return replace(
            self,
            threshold=provisional_threshold(scores),
            region_threshold=min(1.0, pixel_threshold(peaks, 1 / (len(peaks) + 1))),  # just above the largest
            source="shots",
        )


def _heard(inspector: AnyInspector, tile: Index, texts: Sequence[tuple[float, float]]) -> Index:
    """The index of one place of a tile with the text side, as that scores its shots."""
    return tile if tile.evidence is None else inspector.hear(tile, [texts[owner] for owner in tile.evidence.owners])
