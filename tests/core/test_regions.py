import numpy as np
import pytest

from core.regions import MOST_REGIONS, find_regions, position


def test_regions_are_8_connected_boxes_with_their_peak() -> None:
    heatmap = np.zeros((9, 12), np.float32)
    heatmap[1, 1], heatmap[2, 2] = 0.8, 0.9  # touch at a corner: one region
    heatmap[7, 8:12] = 0.6
    first, second = find_regions(heatmap, 0.5)
    assert (first.x, first.y, first.width, first.height, first.area) == (1, 1, 2, 2, 2)
    assert first.peak == (2, 2)
    assert first.score == pytest.approx(0.9)
    assert first.position == "top left"
    assert (second.x, second.y, second.width, second.height, second.area) == (8, 7, 4, 1, 4)
    assert second.position == "bottom right"


def test_the_threshold_itself_counts_and_nothing_below() -> None:
    heatmap = np.full((3, 3), 0.5, np.float32)
    assert len(find_regions(heatmap, 0.5)) == 1
    assert find_regions(heatmap, 0.50001) == ()


def test_a_peak_is_of_its_own_region() -> None:
    heatmap = np.zeros((5, 5), np.float32)
    heatmap[0, :] = heatmap[:, 0] = 0.6  # an L, whose box holds
    heatmap[3, 3] = 0.9  # another region
    assert {region.peak for region in find_regions(heatmap, 0.5)} >= {(3, 3)}
    assert all(
        region.score == pytest.approx(heatmap[region.peak[1], region.peak[0]]) for region in find_regions(heatmap, 0.5)
    )


def test_there_is_a_bound() -> None:
    heatmap = np.zeros((40, 40), np.float32)
    heatmap[::2, ::2] = 0.9
    assert len(find_regions(heatmap, 0.5)) == MOST_REGIONS


@pytest.mark.parametrize(
    ("point", "words"),
    [
        ((0, 0), "top left"),
        ((50, 50), "centre"),
        ((99, 0), "top right"),
        ((50, 99), "bottom centre"),
        ((0, 50), "middle left"),
    ],
)
def test_positions(point: tuple[int, int], words: str) -> None:
    assert position(point, (100, 100)) == words
