"""The geometry of tiles: they cover a frame, and maps of them make one map of it."""

from itertools import pairwise

import numpy as np
import pytest

from core.heatmap import find_peak
from core.tiles import LEAST_SIDE, MOST_TILES, WHOLE, Tiling, TilingError, parse_tiles, tiling_of

SIZES = [(2160, 3840), (100, 101), (64, 333), (517, 40)]


def coordinates(size: tuple[int, int]) -> np.ndarray:
    """A frame whose pixels tell where they are."""
    row, col = np.indices(size)
    return np.stack([row // 256, row % 256, col % 251], -1).astype(np.uint8)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("tiling", [Tiling(2, 2), Tiling(1, 3, 0.0), Tiling(2, 1, 0.5), Tiling(2, 8, 0.13)])
def test_tiles_cover_the_frame_and_overlap_as_asked(size: tuple[int, int], tiling: Tiling) -> None:
    if size[1] / (tiling.cols - (tiling.cols - 1) * tiling.overlap) <= LEAST_SIDE - 1:
        with pytest.raises(TilingError, match=f"{LEAST_SIDE} x {LEAST_SIDE} are the least: use fewer tiles"):
            tiling.tile_size(size)
        return
    frame = coordinates(size)
    tiles, corners = tiling.cut(frame), tiling.corners(size)
    height, width = tiling.tile_size(size)
    assert len(tiles) == tiling.count
    seen = np.zeros(size, int)
    for (row, col), tile in zip(corners, tiles, strict=True):
        assert tile.shape == (height, width, 3)
        assert np.shares_memory(tile, frame)
        assert np.array_equal(tile, frame[row : row + height, col : col + width])
        seen[row : row + height, col : col + width] += 1
    assert seen.min() == 1
    for axis, (count, side) in enumerate(((tiling.rows, height), (tiling.cols, width))):
        starts = sorted({corner[axis] for corner in corners})
        assert len(starts) == count
        assert starts[-1] + side == size[axis]
        for before, after in pairwise(starts):
            assert before + side - after == pytest.approx(tiling.overlap * side, abs=2)


def test_one_tile_is_the_frame_itself() -> None:
    frame, patch_map = coordinates((30, 40)), np.random.default_rng(0).random((5, 5), np.float32)
    for one in (WHOLE, Tiling(1, 1, 0.0), Tiling(1, 1, 0.5)):
        assert one.name == ""
        assert one.cut(frame)[0].shape == frame.shape
        assert one.merge([patch_map]) is patch_map
    assert Tiling(1, 1).tile_size((3, 5)) == (3, 5), "frames as they are may be of any size"


@pytest.mark.parametrize("grid", [(15, 15), (20, 20), (14, 27), (3, 1)])
@pytest.mark.parametrize(
    "tiling", [Tiling(2, 2), Tiling(1, 3), Tiling(3, 2, 0.0), Tiling(4, 8, 0.37), Tiling(2, 1, 0.5)]
)
def test_a_slope_over_the_frame_is_the_same_slope_merged(tiling: Tiling, grid: tuple[int, int]) -> None:
    """What is linear in the frame is linear in each tile, and has to come out as it went in."""

    def sees(count: int, patches: int) -> list[np.ndarray]:
        """The centres of a tile's patches along an axis, in shares of the frame."""
        span = count - (count - 1) * tiling.overlap
        return [(place * (1 - tiling.overlap) + (np.arange(patches) + 0.5) / patches) / span for place in range(count)]

    down, across = sees(tiling.rows, grid[0]), sees(tiling.cols, grid[1])
    maps = [(2 * row[:, None] + col[None, :]).astype(np.float32) for row in down for col in across]
    merged = tiling.merge(maps)
    rows, cols = merged.shape
    expected = 2 * ((np.arange(rows) + 0.5) / rows)[:, None] + ((np.arange(cols) + 0.5) / cols)[None, :]
    inner = np.s_[rows // 6 : -rows // 6, cols // 6 : -cols // 6]  # beyond the outermost patches' centres it is flat
    flat = 1 / min(grid) if min(grid) < 14 else 0.02 / min(grid) if tiling.overlap == 0.37 else 1e-5
    assert merged.dtype == np.float32
    assert np.abs(merged - expected)[inner].max(initial=0) < flat
    assert merged.min() >= min(one.min() for one in maps) - 1e-6
    assert merged.max() <= max(one.max() for one in maps) + 1e-6


@pytest.mark.parametrize("tiling", [Tiling(2, 2), Tiling(1, 3), Tiling(3, 3, 0.0)])
@pytest.mark.parametrize("side", [15, 20])
def test_where_one_tile_alone_sees_a_patch_its_value_stays(tiling: Tiling, side: int) -> None:
    """With an overlap of whole patches the frame's patches are the tiles' own: a defect of one patch loses nothing."""
    maps = [np.zeros((side, side), np.float32) for _ in range(tiling.count)]
    maps[-1][side - 2, side - 3] = 1.0
    merged = tiling.merge(maps)
    step = round(side * (1 - tiling.overlap))
    assert merged.shape == (side + (tiling.rows - 1) * step, side + (tiling.cols - 1) * step)
    assert merged[-2, -3] == pytest.approx(1.0)
    assert merged.sum() == pytest.approx(1.0)
    size = (merged.shape[0] * 10, merged.shape[1] * 10)
    peak = find_peak(merged, size)
    assert abs(peak.x - (size[1] - 25)) <= 5
    assert abs(peak.y - (size[0] - 15)) <= 5


def test_on_an_overlap_the_tile_counts_more_that_sees_farther() -> None:
    left, right = np.zeros((1, 20), np.float32), np.ones((1, 20), np.float32)
    merged = Tiling(1, 2).merge([left, right])[0]
    assert merged.shape == (36,)
    assert (merged[:16] == 0).all()
    assert (merged[20:] == 1).all()
    assert merged[16:20] == pytest.approx([0.125, 0.375, 0.625, 0.875])


def test_labels_are_those_of_the_tile_that_counts_most() -> None:
    left, right = (np.full((2, 20), value, np.int64) for value in (3, 7))
    left[:, 10] = 4
    merged = Tiling(1, 2).merge_labels([left, right])
    assert merged.shape == (2, 36)
    assert merged[0].tolist() == [3] * 10 + [4] + [3] * 7 + [7] * 18


def test_what_is_no_number_stays_none() -> None:
    maps = [np.zeros((15, 15), np.float32) for _ in range(4)]
    maps[2][3, 3] = np.nan
    assert not np.isfinite(Tiling(2, 2).merge(maps)).all()


@pytest.mark.parametrize(
    ("size", "tiles"),
    [
        ((480, 480), (1, 1)),
        ((480, 640), (1, 1)),
        ((1080, 1920), (1, 2)),
        ((1920, 1080), (2, 1)),
        ((100, 300), (1, 4)),
        ((16, 4000), (1, 8)),
        ((15, 4000), (1, 1)),
    ],
)
def test_auto_makes_tiles_nearly_square(size: tuple[int, int], tiles: tuple[int, int]) -> None:
    tiling = tiling_of("auto", 0.2, size)
    assert (tiling.rows, tiling.cols) == tiles
    if max(tiles) < 8 and min(size) > 15:
        height, width = tiling.tile_size(size)
        assert 0.7 < height / width < 1.4


def test_tiles_are_read_as_they_are_written() -> None:
    assert parse_tiles("2x3") == (2, 3)
    assert parse_tiles("auto") == "auto"
    assert tiling_of((2, 3), 0.1, (9, 9)) == Tiling(2, 3, 0.1)
    for wrong in ("", "2", "2x", "x2", "2x3x4", "-1x2", "a", "2 x 3", "²x2"):
        with pytest.raises(TilingError, match="write rows x columns, as 2x3, or auto"):
            parse_tiles(wrong)
    for outside in ("0x1", "1x0", "9x8"):
        with pytest.raises(TilingError, match=f"1 or more, {MOST_TILES} in all"):
            parse_tiles(outside)
    for overlap in (-0.1, 0.51, float("nan")):
        with pytest.raises(TilingError, match=r"not in 0 to 0\.5"):
            Tiling(2, 2, overlap)
