"""Tiles: a frame cut into overlapping parts, each seen at the model's full size, and their maps put together again."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from core.image import Map, Rgb

AUTO: Literal["auto"] = "auto"
Tiles: TypeAlias = "tuple[int, int] | Literal['auto']"
"""Rows and columns, or `auto`: as many along the longer side as make tiles nearly square."""

OVERLAP = 0.2
"""Of neighbours, where none is named: a fifth of a tile is three of 15 patches, and four of 20."""
MOST_OVERLAP = 0.5
MOST_TILES = 64
MOST_AUTO = 8
LEAST_SIDE = 16
"""Pixels of a tile."""


SEEN = 2.0
"""Pixels of the model's input along each side of the smallest square, black on a plain surface, that is told from good
parts with four shots; see `tests/benchmarks/test_tiles.py`. A defect of less contrast has to be larger."""


Number = TypeVar("Number", np.float32, np.int64)


class TilingError(ValueError):
    """A frame cannot be cut as asked; the message names the remedy."""


@dataclass(frozen=True)
class Tiling:
    """A grid of tiles of one size, which cover a frame of any size. One of 1 x 1 is the frame as it is.

    Attributes:
        rows: 1 and above.
        cols: 1 and above; not more than `MOST_TILES` tiles in all.
        overlap: What neighbours share, in shares of a tile's side, 0 to `MOST_OVERLAP`.

    Raises:
        TilingError: a number is out of its range.
    """

    rows: int = 1
    cols: int = 1
    overlap: float = OVERLAP

    def __post_init__(self) -> None:
        if self.rows < 1 or self.cols < 1 or self.rows * self.cols > MOST_TILES:
            raise TilingError(f"tiles {self.rows} x {self.cols}: rows and columns are 1 or more, {MOST_TILES} in all")
        if not 0 <= self.overlap <= MOST_OVERLAP:
            raise TilingError(f"overlap {self.overlap} of tiles is not in 0 to {MOST_OVERLAP}")

    @property
    def count(self) -> int:
        """Tiles of a frame."""
        return self.rows * self.cols

    @property
    def name(self) -> str:
        """`2x3@0.2`, two rows of three; empty for a frame as it is, whose overlap says nothing."""
        return f"{self.rows}x{self.cols}@{self.overlap:g}" if self.count > 1 else ""

    def tile_size(self, size: tuple[int, int]) -> tuple[int, int]:
        """Height and width of each tile of a frame of `size` (height, width), pixels.

        Raises:
            TilingError: a tile would be smaller than `LEAST_SIDE`.
        """
        if self.count == 1:
            return size
        height, width = (math.ceil(length / span) for length, span in zip(size, self._spans(), strict=True))
        if min(height, width) < LEAST_SIDE:
            raise TilingError(
                f"tiles {self.rows} x {self.cols} of a frame of {size[1]} x {size[0]} pixels are {width} x {height}; "
                f"{LEAST_SIDE} x {LEAST_SIDE} are the least: use fewer tiles"
            )
        return height, width

    def corners(self, size: tuple[int, int]) -> list[tuple[int, int]]:
        """The top left pixel (row, column) of each tile of a frame of `size`, row by row.

        Raises:
            TilingError: as `tile_size`.
        """
        tile = self.tile_size(size)
        rows, cols = (
            _starts(length, side, count) for length, side, count in zip(size, tile, (self.rows, self.cols), strict=True)
        )
        return [(row, col) for row in rows for col in cols]

    def cut(self, frame: Rgb) -> list[Rgb]:
        """The tiles of a frame [H, W, 3], row by row, as views of it.

        Raises:
            TilingError: as `tile_size`.
        """
        size = (frame.shape[0], frame.shape[1])
        height, width = self.tile_size(size)
        return [frame[row : row + height, col : col + width] for row, col in self.corners(size)]

    def merge(self, maps: Sequence[Map]) -> Map:
        """The map of the frame, float32, of the maps [r, c] of its tiles, on a grid of patches no larger than theirs.

        Where tiles overlap each counts the more, the farther a place is from its edge, beyond which it sees nothing.
        """
        if self.count == 1:
            return maps[0]
        block = self._block(maps)
        down, across = self._axes((maps[0].shape[0], maps[0].shape[1]))
        return np.asarray(down.weights @ block @ across.weights.T, np.float32)

    def grid(self, patches: tuple[int, int]) -> tuple[int, int]:
        """Rows and columns of a frame's map, of those of a tile's."""
        rows, cols = (_cells(count, span) for count, span in zip(patches, self._spans(), strict=True))
        return rows, cols

    def merge_labels(self, maps: Sequence[NDArray[np.int64]]) -> NDArray[np.int64]:
        """As `merge` for numbers that have no mean: each place has that of the tile which counts most there."""
        if self.count == 1:
            return maps[0]
        down, across = self._axes((maps[0].shape[0], maps[0].shape[1]))
        return self._block(maps)[np.ix_(down.nearest, across.nearest)]

    def _block(self, maps: Sequence[NDArray[Number]]) -> NDArray[Number]:
        rows, cols = maps[0].shape
        tiles = np.stack(maps).reshape(self.rows, self.cols, rows, cols)
        return tiles.transpose(0, 2, 1, 3).reshape(self.rows * rows, self.cols * cols)

    def _axes(self, grid: tuple[int, int]) -> tuple[_Axis, _Axis]:
        return _axis(self.rows, grid[0], self.overlap), _axis(self.cols, grid[1], self.overlap)

    def _spans(self) -> tuple[float, float]:
        """Height and width of a frame, in tiles."""
        return _span(self.rows, self.overlap), _span(self.cols, self.overlap)


WHOLE = Tiling()
"""A frame as it is."""


def tiling_of(tiles: Tiles, overlap: float, size: tuple[int, int]) -> Tiling:
    """The tiling of frames of `size` (height, width).

    Raises:
        TilingError: a number is out of its range.
    """
    if tiles != AUTO:
        rows, cols = tiles
        return Tiling(rows, cols, overlap)
    if min(size) < LEAST_SIDE:
        return WHOLE
    longer = max(size) / min(size)
    count = min(range(1, MOST_AUTO + 1), key=lambda count: abs(math.log(longer / _span(count, overlap))))
    return Tiling(count, 1, overlap) if size[0] > size[1] else Tiling(1, count, overlap)


def tiles_name(tiles: Tiles, overlap: float) -> str:
    """As `2x2@0.2` or `auto@0.2`; empty without tiles."""
    return f"{AUTO}@{overlap:g}" if tiles == AUTO else Tiling(tiles[0], tiles[1], overlap).name


def smallest_defect(tile: tuple[int, int], sees: tuple[int, int]) -> int:
    """Pixels of the frame along each side of the smallest defect of high contrast that is seen; an estimate.

    Args:
        tile: Height and width of what is squeezed to the model's input: a tile, or a frame as it is.
        sees: Height and width of that input, pixels.
    """
    return math.ceil(SEEN * max(1.0, tile[0] / sees[0], tile[1] / sees[1]))


def most_tiles(tiles: Tiles) -> int:
    """The tiles of a frame, at most."""
    return MOST_AUTO if tiles == AUTO else tiles[0] * tiles[1]


def parse_tiles(text: str) -> Tiles:
    """`2x3` (two rows of three), or `auto`.

    Raises:
        TilingError: another text, or numbers out of their range.
    """
    if text == AUTO:
        return AUTO
    rows, by, cols = text.partition("x")
    if not (by and rows.isdecimal() and cols.isdecimal()):
        raise TilingError(f"tiles {text!r}: write rows x columns, as 2x3, or {AUTO}")
    tiling = Tiling(int(rows), int(cols))
    return tiling.rows, tiling.cols


@dataclass(frozen=True, eq=False)
class _Axis:
    """How the patches of all tiles along an axis, one tile after the other, make those of the frame.

    Attributes:
        weights: float32 [frame's, tiles'], each row of sum 1.
        nearest: int64 [frame's], the patch that counts most.
    """

    weights: Map
    nearest: NDArray[np.int64]


@cache
def _axis(tiles: int, patches: int, overlap: float) -> _Axis:
    span = _span(tiles, overlap)
    cells = _cells(patches, span)
    centres = (np.arange(cells) + 0.5) / cells * span  # in tiles
    inside = centres[:, None] - np.arange(tiles) * (1.0 - overlap)  # in each tile: 0..1 is what it sees
    first, last = np.arange(tiles) == 0, np.arange(tiles) == tiles - 1
    # From the edge beyond which a neighbour sees more; the frame's own edges are none.
    edge = np.minimum(np.where(first, np.inf, inside), np.where(last, np.inf, 1 - inside))
    counts = np.where((inside >= 0) & (inside <= 1), edge.clip(1e-9, max(overlap, 1e-9)), 0.0)
    counts /= counts.sum(1, keepdims=True)
    places = (inside * patches - 0.5).clip(0, patches - 1)
    shares = np.maximum(0.0, 1.0 - np.abs(places[:, :, None] - np.arange(patches)))
    best = counts.argmax(1)
    patch = (inside[np.arange(cells), best] * patches).astype(np.int64).clip(0, patches - 1)
    weights = (counts[:, :, None] * shares).reshape(cells, tiles * patches)
    return _Axis(weights.astype(np.float32), best * patches + patch)


def _cells(patches: int, span: float) -> int:
    """Patches along a frame of so many tiles, each no larger than one of theirs."""
    return math.ceil(patches * span - 1e-6)


def _span(tiles: int, overlap: float) -> float:
    """The length of a frame, in tiles."""
    return tiles - (tiles - 1) * overlap


def _starts(length: int, side: int, count: int) -> list[int]:
    return [round(place * (length - side) / max(1, count - 1)) for place in range(count)]
