"""The metrics against scikit-learn, against slow readings of their definitions, and within their stated errors."""

import builtins
import math
import sys
from collections.abc import Sequence
from itertools import pairwise

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.metrics import precision_recall_curve, roc_auc_score

from core.evaluate.metrics import (
    BINS,
    PixelMetrics,
    deciles,
    image_metrics,
    operate,
    wilson,
)

Heatmap = NDArray[np.float32]
Mask = NDArray[np.bool_]
Pictures = Sequence[tuple[Heatmap, Mask]]
LIMIT = 0.3


def pixel_metrics(pictures: Pictures) -> tuple[float | None, float | None, float | None]:
    metrics = PixelMetrics()
    for heatmap, mask in pictures:
        metrics.update(heatmap, mask)
    return metrics.compute()


def flat(pictures: Pictures) -> tuple[Heatmap, Mask]:
    return np.concatenate([one.ravel() for one, _ in pictures]), np.concatenate([one.ravel() for _, one in pictures])


def regions_of(mask: Mask) -> list[list[tuple[int, int]]]:
    """8-connected, by flood fill."""
    left = {(int(row), int(col)) for row, col in np.argwhere(mask)}
    regions = []
    while left:
        region = [left.pop()]
        for row, col in region:  # grows while it is walked
            near = {(row + down, col + right) for down in (-1, 0, 1) for right in (-1, 0, 1)} & left
            left -= near
            region.extend(near)
        regions.append(region)
    return regions


def plain_pro(pictures: Pictures) -> float:
    """PRO as the paper words it: threshold by threshold, region by region."""
    scores = [[float(heatmap[pixel]) for pixel in region] for heatmap, mask in pictures for region in regions_of(mask)]
    normal = [float(one) for heatmap, mask in pictures for one in heatmap[~mask]]
    thresholds = sorted({float(one) for heatmap, _ in pictures for one in heatmap.ravel()}, reverse=True)
    curve = [(0.0, 0.0)]
    for threshold in thresholds:
        overlaps = [sum(one >= threshold for one in region) / len(region) for region in scores]
        false = sum(one >= threshold for one in normal) / len(normal)
        curve.append((false, sum(overlaps) / len(overlaps)))
    area = 0.0
    for (left, low), (right, high) in pairwise(curve):
        if left >= LIMIT or right == left:
            continue
        end = min(right, LIMIT)
        area += (end - left) * (low + low + (high - low) * (end - left) / (right - left)) / 2
    return area / LIMIT


def plain_f1_max(scores: Sequence[float], labels: Sequence[bool]) -> float:
    best = 0.0
    for threshold in scores:
        found = sum(score >= threshold and label for score, label in zip(scores, labels, strict=True))
        called = sum(score >= threshold for score in scores)
        best = max(best, 2 * found / (called + sum(labels)))
    return best


def sklearn_f1_max(scores: NDArray[np.float32], labels: Mask) -> float:
    precision, recall, _ = precision_recall_curve(labels, scores)
    return float(np.max(2 * precision * recall / np.maximum(precision + recall, 1e-12)))


def stated_errors(pictures: Pictures) -> tuple[float, float, float]:
    """Of pAUROC, PRO and pF1-max, as the docstring of `PixelMetrics` gives them."""
    scores, labels = flat(pictures)
    bins = np.floor(scores.astype(np.float64) * BINS).astype(int)
    weights = np.concatenate([_weights(mask) for _, mask in pictures])
    used = np.unique(bins)[::-1]
    n = np.array([(~labels[bins == one]).sum() for one in used])
    d = np.array([labels[bins == one].sum() for one in used])
    rise = np.array([weights[bins == one].sum() for one in used]) / sum(len(regions_of(mask)) for _, mask in pictures)
    normal, defective = n.sum(), d.sum()
    auroc = float((n * d).sum() / (2 * normal * defective))
    f, t = n.cumsum(), d.cumsum()
    boxes = n / normal * rise / LIMIT
    ends_below, starts_below = f / normal <= LIMIT, (f - n) / normal <= LIMIT
    pro = float((boxes * np.where(ends_below, 0.5, np.where(starts_below, 1.0, 0.0))).sum())
    f1 = float((2 * t / (t + f - n + defective) - 2 * t / (t + f + defective)).max())
    return auroc, pro, f1


def _weights(mask: Mask) -> NDArray[np.float64]:
    weights = np.zeros(mask.shape)
    for region in regions_of(mask):
        for pixel in region:
            weights[pixel] = 1 / len(region)
    return weights.ravel()


def check(pictures: Pictures) -> None:
    """Every pixel metric is inside its stated error of the exact one."""
    scores, labels = flat(pictures)
    auroc, pro, f1 = pixel_metrics(pictures)
    assert auroc is not None
    assert pro is not None
    assert f1 is not None
    stated = stated_errors(pictures)
    rounding = 1e-9
    assert abs(auroc - roc_auc_score(labels, scores)) <= stated[0] + rounding
    assert abs(pro - plain_pro(pictures)) <= stated[1] + rounding
    assert -rounding <= sklearn_f1_max(scores, labels) - f1 <= stated[2] + rounding
    assert all(0 <= one <= 1 for one in (auroc, pro, f1))


def drawn(rows: Sequence[str]) -> Mask:
    return np.array([[cell == "#" for cell in row] for row in rows])


def noise(shape: tuple[int, int], seed: int, middle: float = 0.5, width: float = 1.0, steps: int = 0) -> Heatmap:
    """Uniform scores in a band, of `steps` + 1 values where that is given."""
    values = np.random.default_rng(seed).random(shape)
    if steps:
        values = np.round(values * steps) / steps
    return (middle + width * (values - 0.5)).astype(np.float32)


@st.composite
def pictures_strategy(draw: st.DrawFn) -> list[tuple[Heatmap, Mask]]:
    """One to three small pictures, with at least one defective and one normal pixel among them."""
    seed = draw(st.integers(0, 10**6))
    rng = np.random.default_rng(seed)
    shape = (draw(st.integers(1, 9)), draw(st.integers(2, 9)))
    # From many bins to scores that all fall into one.
    width = draw(st.sampled_from([1.0, 0.02, 1e-4, 1e-6]))
    steps = draw(st.sampled_from([0, 1, 3, 20]))
    pictures = []
    for number in range(draw(st.integers(1, 3))):
        mask = rng.random(shape) < draw(st.sampled_from([0.0, 0.2, 0.5, 1.0]))
        pictures.append((noise(shape, seed + number, draw(st.sampled_from([0.5, 0.51])), width, steps), mask))
    pictures[0][1][0, :2] = True, False
    return [(np.clip(heatmap, 0, 1), mask) for heatmap, mask in pictures]


MASKS = {
    "a region of one pixel": ["....", ".#..", "....", "...."],
    "many regions of one pixel": ["#.#.#", ".....", "#.#.#", ".....", "#.#.#"],
    "pixels that touch by corners": ["#....", ".#...", "..#..", "...#.", "....#"],
    "two regions, a pixel apart": ["##.##", "##.##", "....."],
    "regions at every border": ["##.##", "#...#", ".....", "#...#", "##.##"],
    "all but one pixel": ["####", "####", "###.", "####"],
    "a ring": ["#####", "#...#", "#.#.#", "#...#", "#####"],
    "one row": ["##..#"],
    "one column": ["#", ".", "#", "#"],
}
MAPS = {
    "distinct": lambda shape, _: noise(shape, 3),
    "ties": lambda shape, _: noise(shape, 4, steps=2),
    "all the same": lambda shape, _: np.full(shape, 0.5, np.float32),
    "zeros": lambda shape, _: np.zeros(shape, np.float32),
    "ones": lambda shape, _: np.ones(shape, np.float32),
    "right": lambda _, mask: mask.astype(np.float32),
    "wrong": lambda _, mask: (~mask).astype(np.float32),
    "a band in one bin": lambda shape, _: noise(shape, 5, 0.5 + 0.5 / BINS, 0.5 / BINS),
    "neighbours in float32": lambda _, mask: np.where(
        mask, np.nextafter(np.float32(0.5), np.float32(1)), np.float32(0.5)
    ),
    "as far as 1": lambda shape, _: np.maximum(noise(shape, 6, steps=3), np.nextafter(np.float32(1), np.float32(0))),
}


@pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS.keys())
@pytest.mark.parametrize("heatmap", MAPS.values(), ids=MAPS.keys())
def test_adversarial_pictures(mask: list[str], heatmap) -> None:
    picture = drawn(mask)
    check([(heatmap(picture.shape, picture), picture)])


@settings(max_examples=150, deadline=None)
@given(pictures_strategy())
def test_pictures(pictures: list[tuple[Heatmap, Mask]]) -> None:
    check(pictures)


@settings(max_examples=50, deadline=None)
@given(pictures_strategy())
def test_scores_at_the_edges_of_bins_are_exact(pictures: list[tuple[Heatmap, Mask]]) -> None:
    edges = [(np.floor(heatmap * np.float32(BINS)) / np.float32(BINS), mask) for heatmap, mask in pictures]
    scores, labels = flat(edges)
    expected = roc_auc_score(labels, scores), plain_pro(edges), sklearn_f1_max(scores, labels)
    assert pixel_metrics(edges) == pytest.approx(expected, abs=1e-9)


@settings(max_examples=50, deadline=None)
@given(pictures_strategy())
def test_the_order_of_pictures_does_not_matter(pictures: list[tuple[Heatmap, Mask]]) -> None:
    assert pixel_metrics(pictures) == pytest.approx(pixel_metrics(pictures[::-1]), abs=1e-12)


@pytest.mark.parametrize(
    ("middle", "width", "steps"),
    [
        (0.5, 1.0, 0),  # all of [0, 1]
        (0.5, 0.02, 0),  # where zero-shot maps are
        (0.49, 0.02, 0),
        (0.99, 0.02, 0),
        (0.01, 0.02, 0),
        (0.5, 0.02, 64),  # ties everywhere
    ],
)
def test_large_random_maps_are_within_what_the_docstring_says(middle: float, width: float, steps: int) -> None:
    rng = np.random.default_rng(11)
    pictures = []
    for number in range(10):
        mask = np.zeros((240, 240), np.bool_)
        if number % 2:
            top, left = rng.integers(0, 120, 2)
            mask[top : top + 100, left : left + 90] = True
            mask[-2:, -2:] = True
        shift = np.float32(0.1 * width) * mask
        heatmap = noise((240, 240), number, middle - 0.05 * width, 0.9 * width, steps) + shift
        pictures.append((heatmap.astype(np.float32), mask))
    scores, labels = flat(pictures)
    auroc, pro, f1 = pixel_metrics(pictures)
    expected = roc_auc_score(labels, scores)
    print(f"{middle} +- {width / 2}: {auroc - expected:.1e}, {pro - exact_pro(pictures):.1e}", end=", ")
    print(f"{f1 - sklearn_f1_max(scores, labels):.1e}")
    assert auroc == pytest.approx(expected, abs=1e-6)
    assert pro == pytest.approx(exact_pro(pictures), abs=1e-5)
    assert f1 == pytest.approx(sklearn_f1_max(scores, labels), abs=1e-4)


def exact_pro(pictures: Pictures) -> float:
    """As `plain_pro`, by sorting, for large pictures."""
    scores, labels = flat(pictures)
    weights = []
    count = 0
    for _, mask in pictures:
        number, regions = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
        weights.append(np.where(mask, 1 / np.bincount(regions.ravel())[regions], 0).ravel())
        count += number - 1
    order = np.argsort(-scores, kind="stable")
    last = np.append(np.diff(scores[order]) != 0, True)
    false = np.append(0, np.cumsum(~labels[order])[last]) / (~labels).sum()
    overlap = np.append(0, np.cumsum(np.concatenate(weights)[order])[last]) / count
    grid = np.append(false[false < LIMIT], LIMIT)
    values = np.append(overlap[false < LIMIT], np.interp(LIMIT, false, overlap))
    return float(np.sum(np.diff(grid) * (values[1:] + values[:-1]) / 2) / LIMIT)


def test_exact_pro_is_the_plain_one() -> None:
    pictures = [(noise((9, 8), seed, steps=30), drawn(["........", ".###..##", ".###...."] * 3)) for seed in (1, 2)]
    assert exact_pro(pictures) == pytest.approx(plain_pro(pictures), abs=1e-12)


def test_pixels_that_touch_by_corners_are_one_region() -> None:
    heatmap = np.zeros((4, 4), np.float32)
    heatmap[0, 0] = 1
    diagonal = np.eye(4, dtype=np.bool_)
    # One region of which a quarter is found before any normal pixel: 1/4 at 0, linear up to 1 at 1.
    assert pixel_metrics([(heatmap, diagonal)])[1] == pytest.approx(0.25 + 0.75 * LIMIT / 2)


def test_a_small_region_weighs_as_much_as_a_large_one() -> None:
    mask = drawn(["####..", "####..", "####.#"])
    heatmap = np.zeros(mask.shape, np.float32)
    heatmap[2, 5] = 1
    assert pixel_metrics([(heatmap, mask)])[1] == pytest.approx(0.5 + 0.5 * LIMIT / 2)


@pytest.mark.parametrize("value", [False, True])
def test_pixel_metrics_of_one_label_are_none(value: bool) -> None:
    metrics = PixelMetrics()
    assert metrics.compute() == (None, None, None)
    metrics.update(noise((5, 5), 0), np.full((5, 5), value))
    assert metrics.compute() == (None, None, None)
    metrics.update(noise((5, 5), 1), np.full((5, 5), not value))
    assert None not in metrics.compute()


def test_pictures_may_differ_in_size_and_in_memory_layout() -> None:
    heatmap, mask = noise((6, 9), 0), np.random.default_rng(1).random((6, 9)) < 0.3
    turned = [(heatmap.T, mask.T), (heatmap[::2, ::-1], mask[::2, ::-1])]
    copies = [(np.ascontiguousarray(one), np.ascontiguousarray(other)) for one, other in turned]
    assert pixel_metrics(turned) == pixel_metrics(copies)


def test_memory_does_not_grow_with_the_pictures() -> None:
    metrics = PixelMetrics()
    sizes = []
    for seed in range(3):
        metrics.update(noise((50, 50), seed), noise((50, 50), seed + 9) > 0.7)
        sizes.append(sum(one.nbytes for one in vars(metrics).values() if isinstance(one, np.ndarray)))
    assert len(set(sizes)) == 1
    assert sizes[0] <= 13 * 2**20


GOOD_MAP, GOOD_MASK = noise((4, 5), 0), noise((4, 5), 1) > 0.5


def with_value(value: float) -> Heatmap:
    heatmap = GOOD_MAP.copy()
    heatmap[1, 2] = value
    return heatmap


@pytest.mark.parametrize(
    ("heatmap", "mask", "message"),
    [
        (GOOD_MAP, GOOD_MASK[:3], r"heatmap \(4, 5\) and mask \(3, 5\) must be of one shape"),
        (GOOD_MAP[None], GOOD_MASK[None], r"heatmap \(1, 4, 5\)"),  # a batch
        (GOOD_MAP[:0], GOOD_MASK[:0], r"heatmap \(0, 5\)"),  # no pixel
        (GOOD_MAP.astype(np.float64), GOOD_MASK, "heatmap must be float32, not float64"),
        (GOOD_MAP, GOOD_MASK.astype(np.uint8), "mask must be bool, not uint8"),
        (with_value(np.nan), GOOD_MASK, "heatmap must be within"),
        (with_value(np.inf), GOOD_MASK, "heatmap must be within"),
        (with_value(-0.001), GOOD_MASK, "heatmap must be within"),
        (with_value(np.nextafter(np.float32(1), np.float32(2))), GOOD_MASK, "heatmap must be within"),
    ],
)
def test_a_picture_that_is_refused_changes_nothing(heatmap: Heatmap, mask: Mask, message: str) -> None:
    metrics = PixelMetrics()
    metrics.update(GOOD_MAP, GOOD_MASK)
    before = metrics.compute()
    with pytest.raises(ValueError, match=message):
        metrics.update(heatmap, mask)
    assert metrics.compute() == before


LABELLED = st.lists(st.tuples(st.sampled_from([0.1, 0.2, 0.25, 0.7, 0.9]), st.booleans()), min_size=1, max_size=25)


@given(LABELLED)
def test_image_metrics(parts: list[tuple[float, bool]]) -> None:
    scores, labels = [one for one, _ in parts], [one for _, one in parts]
    found = image_metrics(np.array(scores), np.array(labels))
    if len(set(labels)) == 1:
        assert found == (None, None, None)
        return
    good = [score for score, label in parts if not label]
    bad = [score for score, label in parts if label]
    wins = sum((one > other) + (one == other) / 2 for one in bad for other in good)
    precision = 0.0
    for threshold in set(bad):
        called = sum(one >= threshold for one in scores)
        precision += bad.count(threshold) / len(bad) * sum(one >= threshold for one in bad) / called
    expected = wins / (len(good) * len(bad)), precision, plain_f1_max(scores, labels)
    assert found == pytest.approx(expected, abs=1e-12)


def test_ties_are_one_threshold() -> None:
    # Taking the tied parts one by one, in the best order, would give an F1 of 1.
    scores, labels = np.array([0.5, 0.5, 0.1]), np.array([True, False, False])
    assert image_metrics(scores, labels)[2] == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    ("scores", "labels", "message"),
    [
        (np.zeros(3), np.zeros(2, np.bool_), r"scores \(3,\) and labels \(2,\)"),
        (np.zeros((2, 2)), np.zeros((2, 2), np.bool_), "of one shape"),
        (np.zeros(3), np.zeros(3, np.int64), "labels must be bool"),
        (np.array([0.1, np.nan]), np.array([True, False]), "scores must be finite"),
        (np.array([0.1, np.inf]), np.array([True, False]), "scores must be finite"),
    ],
)
def test_parts_that_are_refused(scores: NDArray[np.float64], labels: Mask, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        image_metrics(scores, labels)
    with pytest.raises(ValueError, match=message):
        operate(scores, labels, np.array([0.1]))


def test_no_parts_have_no_image_metrics() -> None:
    assert image_metrics(np.zeros(0), np.zeros(0, np.bool_)) == (None, None, None)


def test_without_scikit_learn_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    ordinary = builtins.__import__

    def absent(name: str, *rest, **named):
        if name.startswith("sklearn"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return ordinary(name, *rest, **named)

    monkeypatch.delitem(sys.modules, "sklearn.metrics")
    monkeypatch.setattr(builtins, "__import__", absent)
    with pytest.raises(ModuleNotFoundError, match="install the extra evaluate"):
        image_metrics(np.array([0.1, 0.2]), np.array([False, True]))


@pytest.mark.parametrize(
    ("successes", "count", "low", "high"),
    [
        (0, 10, 0.0, 0.2775),  # as in tables of the interval
        (1, 10, 0.0179, 0.4042),
        (5, 10, 0.2366, 0.7634),
        (10, 10, 0.7225, 1.0),
        (0, 1, 0.0, 0.7935),
    ],
)
def test_wilson(successes: int, count: int, low: float, high: float) -> None:
    rate = wilson(successes, count)
    assert (rate.value, rate.count) == (successes / count, count)
    assert (rate.low, rate.high) == pytest.approx((low, high), abs=1e-4)


@given(st.integers(1, 10**6).flatmap(lambda count: st.tuples(st.integers(0, count), st.just(count))))
def test_the_interval_is_inside_the_unit_and_around_the_share(pair: tuple[int, int]) -> None:
    rate, opposite = wilson(*pair), wilson(pair[1] - pair[0], pair[1])
    assert 0 <= rate.low <= rate.value <= rate.high <= 1
    assert (1 - opposite.high, 1 - opposite.low) == pytest.approx((rate.low, rate.high), abs=1e-12)


@pytest.mark.parametrize(("successes", "count"), [(0, 0), (3, 2), (-1, 2)])
def test_no_share_of_no_parts(successes: int, count: int) -> None:
    with pytest.raises(ValueError, match="no share"):
        wilson(successes, count)


def test_operation() -> None:
    normal = np.random.default_rng(0).permutation(np.arange(1, 20)) / 100  # the threshold is just above 0.19
    scores = np.array([0.1, 0.19, 0.2, 0.3, 0.05, 0.19])
    labels = np.array([False, False, False, True, True, True])
    operation = operate(scores, labels, normal)
    assert operation.threshold == math.nextafter(0.19, 1)
    assert (operation.normals, operation.promised) == (19, 0.05)
    assert operation.false_alarms == wilson(1, 3)
    assert operation.escapes == wilson(2, 3)


@pytest.mark.parametrize("label", [False, True])
def test_operation_on_parts_of_one_label(label: bool) -> None:
    operation = operate(np.array([0.1, 0.9]), np.array([label, label]), np.array([0.5]))
    assert (operation.false_alarms is None, operation.escapes is None) == (label, not label)
    assert operation.promised == 0.5


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), max_size=60))
def test_deciles(parts: list[tuple[float, bool]]) -> None:
    groups = deciles(np.array([area for area, _ in parts]), np.array([one for _, one in parts], np.bool_))
    assert len(groups) == min(10, len(parts))
    assert sum(group.count for group in groups) == len(parts)
    assert sum(group.found for group in groups) == sum(one for _, one in parts)
    if not groups:
        return
    counts = [group.count for group in groups]
    assert max(counts) - min(counts) <= 1
    edges = [edge for group in groups for edge in (group.smallest, group.largest)]
    assert edges == sorted(edges)
    assert (edges[0], edges[-1]) == (min(area for area, _ in parts), max(area for area, _ in parts))


@pytest.mark.parametrize(
    ("areas", "found", "message"),
    [
        (np.zeros(3), np.zeros(2, np.bool_), "of one shape"),
        (np.zeros(3), np.zeros(3), "found must be bool"),
        (np.array([0.1, 1.1]), np.zeros(2, np.bool_), "areas must be within"),
        (np.array([0.1, np.nan]), np.zeros(2, np.bool_), "areas must be within"),
    ],
)
def test_deciles_that_are_refused(areas: NDArray[np.float64], found: Mask, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        deciles(areas, found)
