"""The metrics are anomalib's: its AUROC, F1Max and AUPRO on the same pictures.

Where scores are multiples of 2 ** -17 the bins cost nothing, so that any difference would be one of definition; one
test takes scores between the bins' edges, where the difference is the bins'.

anomalib's regions are 8-connected as well (OpenCV's default), and it interpolates at the limit and divides by it too.
It adds up in float32. It departs in one point: with pixels of one label only it gives 0 (F1Max 0 or 1), where ours
are None.
"""

import numpy as np
import pytest
import torch
from anomalib.metrics.aupro import _AUPRO
from anomalib.metrics.auroc import _AUROC
from anomalib.metrics.f1_score import _F1Max
from numpy.typing import NDArray

from core.evaluate.metrics import PixelMetrics, image_metrics

Pictures = list[tuple[NDArray[np.float32], NDArray[np.bool_]]]
STEPS = 2**17


def grid(values: NDArray[np.float64]) -> NDArray[np.float32]:
    return (np.round(np.clip(values, 0, 1) * STEPS) / STEPS).astype(np.float32)


def random_pictures(seed: int, low: float, high: float, values: int) -> Pictures:
    """Six pictures, four of them with regions, in a band of that many values (0: as many as there are)."""
    rng = np.random.default_rng(seed)
    pictures = []
    for number in range(6):
        mask = np.zeros((96, 80), np.bool_)
        for _ in range(number % 3 * 2):
            top, left, height, width = rng.integers(0, 70, 4)
            mask[top : top + height // 3 + 1, left : left + width // 3 + 1] = True
        raw = np.clip(rng.normal(0.5, 0.2, mask.shape) + 0.15 * mask, 0, 1)
        if values:
            raw = np.round(raw * values) / values
        pictures.append((grid(low + (high - low) * raw), mask))
    return pictures


def one_picture(mask: NDArray[np.bool_], heatmap: NDArray[np.float64]) -> Pictures:
    return [(grid(heatmap), mask)]


def adversarial() -> dict[str, Pictures]:
    rng = np.random.default_rng(5)
    noise = rng.random((40, 40))
    diagonal = np.eye(40, dtype=np.bool_)
    checkers = np.indices((40, 40)).sum(0) % 2 == 0
    dots = np.zeros((40, 40), np.bool_)
    dots[::3, ::3] = True
    borders = np.ones((40, 40), np.bool_)
    borders[2:-2, 2:-2] = False
    nearly_all = np.ones((40, 40), np.bool_)
    nearly_all[7, 7] = False
    return {
        "pixels that touch by corners": one_picture(diagonal, noise),
        "a chessboard, one region": one_picture(checkers, noise),
        "regions of one pixel": one_picture(dots, noise),
        "a frame along the border": one_picture(borders, noise),
        "one normal pixel": one_picture(nearly_all, noise),
        "one normal pixel above all": one_picture(nearly_all, np.where(nearly_all, 0.9 * noise, 1.0)),
        "all the same": one_picture(dots, np.full((40, 40), 0.5)),
        "zeros and ones": one_picture(borders, (noise > 0.6).astype(float)),
        "right": one_picture(dots, dots.astype(float)),
        "wrong": one_picture(dots, (~dots).astype(float)),
        "tiny beside large": one_picture(borders | diagonal, np.where(borders, 0.5, noise)),
        "a false-positive rate of just 0.3": one_picture(
            np.arange(1100).reshape(1, -1) >= 1000, np.arange(1100).reshape(1, -1) % 10 / 10
        ),
        "all good but one": [
            *[(grid(rng.random((40, 40))), np.zeros((40, 40), np.bool_)) for _ in range(3)],
            *one_picture(dots, noise),
        ],
        "the same regions in many pictures": [(grid(rng.random((40, 40))), borders) for _ in range(4)],
    }


CASES: dict[str, Pictures] = {
    "all of [0, 1]": random_pictures(0, 0.0, 1.0, 0),
    "a band of 0.02": random_pictures(1, 0.49, 0.51, 0),
    "a band of 0.002": random_pictures(2, 0.499, 0.501, 0),
    "ties": random_pictures(3, 0.0, 1.0, 12),
    "ties in a band": random_pictures(4, 0.48, 0.52, 12),
    **adversarial(),
}


@pytest.mark.parametrize("pictures", CASES.values(), ids=CASES.keys())
def test_pixel_metrics(pictures: Pictures) -> None:
    compare(pictures, 1e-6, 1e-6, 1e-6)


@pytest.mark.parametrize("width", [1.0, 0.04, 0.02])
def test_pixel_metrics_of_scores_between_the_edges_of_bins(width: float) -> None:
    rng = np.random.default_rng(8)
    pictures = []
    for number in range(10):
        mask = np.zeros((240, 240), np.bool_)
        mask[60 : 60 + 10 * number, 40 : 40 + 12 * number] = True
        raw = np.clip(rng.normal(0.4, 0.15, mask.shape) + 0.2 * mask, 0, 1)
        pictures.append(((0.5 + width * (raw - 0.5)).astype(np.float32), mask))
    compare(pictures, 1e-6, 1e-5, 1e-4)


@pytest.mark.parametrize("value", [0, 1])
def test_pixels_of_one_label(value: int) -> None:
    heatmap, mask = grid(np.random.default_rng(0).random((9, 9))), np.full((9, 9), bool(value))
    ours = PixelMetrics()
    ours.update(heatmap, mask)
    assert ours.compute() == (None, None, None)
    theirs = []
    for metric in (_AUROC(), _AUPRO(fpr_limit=0.3), _F1Max()):
        metric.update(torch.from_numpy(heatmap)[None], torch.from_numpy(mask)[None].int())
        theirs.append(float(metric.compute()))
    assert theirs == pytest.approx([0, 0, value])


def compare(pictures: Pictures, auroc_error: float, pro_error: float, f1_error: float) -> None:
    ours = PixelMetrics()
    auroc, aupro, f1_max = _AUROC(), _AUPRO(fpr_limit=0.3), _F1Max()
    for heatmap, mask in pictures:
        ours.update(heatmap, mask)
        scores, labels = torch.from_numpy(heatmap)[None], torch.from_numpy(mask)[None].int()
        for metric in (auroc, aupro, f1_max):
            metric.update(scores, labels)
    pauroc, pro, pf1_max = ours.compute()
    theirs = float(auroc.compute()), float(aupro.compute()), float(f1_max.compute())
    assert pauroc is not None
    assert pro is not None
    assert pf1_max is not None
    print(f"pAUROC {pauroc:.6f} ({pauroc - theirs[0]:+.1e})", end=", ")
    print(f"PRO {pro:.6f} ({pro - theirs[1]:+.1e}), pF1-max {pf1_max:.6f} ({pf1_max - theirs[2]:+.1e})")
    assert pauroc == pytest.approx(theirs[0], abs=auroc_error)
    assert pro == pytest.approx(theirs[1], abs=pro_error)
    assert pf1_max == pytest.approx(theirs[2], abs=f1_error)


@pytest.mark.parametrize("values", [0, 2, 10])
@pytest.mark.parametrize("count", [2, 7, 150])
def test_image_metrics(count: int, values: int) -> None:
    rng = np.random.default_rng(count)
    labels = rng.random(count) < 0.6
    labels[:2] = True, False
    raw = np.clip(rng.normal(0.45 + 0.1 * labels, 0.15), 0, 1)
    scores = grid(np.round(raw * values) / values if values else raw)
    ours = image_metrics(scores.astype(np.float64), labels)
    auroc, f1_max = _AUROC(), _F1Max()
    for metric in (auroc, f1_max):
        metric.update(torch.from_numpy(scores), torch.from_numpy(labels).int())
    assert ours[0] == pytest.approx(float(auroc.compute()), abs=1e-6)
    assert ours[2] == pytest.approx(float(f1_max.compute()), abs=1e-6)
