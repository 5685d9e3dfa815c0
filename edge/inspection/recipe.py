"""What a line judges by, ready for use, and who watches what it finds."""

from __future__ import annotations

import queue
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from core.image import Rgb
from core.picture_check import ShotFigures
from core.tiles import Tiling, TilingError, smallest_defect, tiling_of
from edge.messages import Bank, Model, Recipe
from edge.settings_recipe import RecipeSettings

if TYPE_CHECKING:
    from core.bank.tiled_index import AnyIndex
    from core.drift import DriftTest
    from core.inspection import Inspection
    from core.inspector import AnyInspector, Texts

NO_SHOTS = Bank(shots=0, revision=0)


@dataclass(frozen=True, eq=False)
class LoadedRecipe:
    """All that a part is judged by: it takes this once, so that nothing of another recipe or revision gets in.

    Attributes:
        inspector: The method. Only the inference's thread uses it; others ask it for what never changes.
        model: Model and method as every verdict names them.
        text: What the method makes of the pack.
        settings: Region, limits of the frame, tiles and use of the shots, as the recipe's revision says.
        key: Under which its shots and calibrations are kept, see `edge.storage.recipe_tables.recipe_key`.
        provisional: Whether the threshold is neither calibrated with shots, pack and model as now, nor set by hand.
        review_below: An anomaly whose score is below it is for review; None without a review.
        uncalibrated: Whether nobody has calibrated the threshold, nor set it by hand.
        drift: Whether the line still does what its calibration promised; fed by the line. None without calibration.
        kinds: Of the phrases of the pack's `[defects]` the kind of defect.
        texts_sha256: Of the texts as they were rendered for the method, which another version may render otherwise.
        sees: Height and width of the model's finest input, pixels.
        size: Height and width of the region, pixels; None where no shot and no region tells it.
        shots: What the pictures of its shots have in common; None without shots.
    """

    inspector: AnyInspector
    model: Model
    text: Texts
    threshold: float
    pixel_threshold: float
    wire: Recipe
    settings: RecipeSettings = field(default_factory=RecipeSettings)
    key: str = ""
    index: AnyIndex | None = None
    bank: Bank = NO_SHOTS
    review_below: float | None = None
    provisional: bool = False
    uncalibrated: bool = False
    drift: DriftTest | None = None
    kinds: Mapping[str, str] = field(default_factory=dict)
    texts_sha256: str = ""
    sees: tuple[int, int] = (1, 1)
    size: tuple[int, int] | None = None
    shots: ShotFigures | None = None

    def tiling(self, size: tuple[int, int]) -> Tiling:
        """How a region of `size` (height, width) is cut: as the shots that it is compared with, whatever its size."""
        settings = self.settings
        return tiling_of(settings.tiles, settings.overlap, size) if self.index is None else self.index.tiling

    def smallest_defect(self, size: tuple[int, int] | None = None) -> int | None:
        """Pixels along each side of the smallest defect that is seen in a region of `size`, an estimate.

        None where that is not known, or the region is too small for its tiles, and no part can be judged.
        """
        size = size or self.size
        if size is None:
            return None
        try:
            return smallest_defect(self.tiling(size).tile_size(size), self.sees)
        except TilingError:
            return None

    @property
    def scores_are_of(self) -> tuple[Bank, str, str | None]:
        """What scores depend on: shots, pack, and the basis of `edge.messages.Recipe`. With others they are others."""
        return self.bank, self.wire.pack_sha256, self.wire.basis

    @property
    def weights(self) -> dict[str, float]:
        """The share of the say of each source that parts are compared with the shots in; nothing without shots."""
        found = {} if self.index is None else self.index.weights
        return {source: round(share, 4) for source, share in found.items()}


@dataclass(frozen=True, eq=False)
class Seen:
    """An inspected picture, what was found, what it was judged by, and its verdict's number.

    Attributes:
        image: The inspected region, a view of `frame`.
        frame: All that the camera saw.
        corner: x and y of the region in the frame, pixels.
    """

    image: Rgb
    inspection: Inspection
    recipe: LoadedRecipe
    seq: int
    frame: Rgb
    corner: tuple[int, int] = (0, 0)

    @property
    def region(self) -> NDArray[np.bool_]:
        """The region in the frame, bool [H, W]."""
        (x, y), (height, width) = self.corner, self.image.shape[:2]
        mask = np.zeros(self.frame.shape[:2], bool)
        mask[y : y + height, x : x + width] = True
        return mask


class Watchers:
    """Who waits for the next pictures of a line. Any thread may call it."""

    WAITING = 4
    """Pictures that may wait for one watcher; of more the newest are passed over, so that memory is bounded."""

    def __init__(self) -> None:
        self._queues: list[queue.Queue[Seen | None]] = []
        self._closed = False

    @contextmanager
    def watch(self) -> Iterator[queue.Queue[Seen | None]]:
        """What the line scores from now on, as it comes; None when it has ended."""
        watching: queue.Queue[Seen | None] = queue.Queue(self.WAITING + 1)  # there is always room for the end
        self._queues.append(watching)
        if self._closed:
            watching.put(None)
        try:
            yield watching
        finally:
            self._queues.remove(watching)

    def show(self, seen: Seen) -> None:
        """Shows a picture to all who watch and can keep up."""
        for watching in tuple(self._queues):
            if watching.qsize() < self.WAITING:
                watching.put_nowait(seen)

    def close(self) -> None:
        """Nothing more comes."""
        self._closed = True
        for watching in tuple(self._queues):
            watching.put(None)
