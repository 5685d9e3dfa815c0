"""The paper's metrics, and how a line would do at a threshold calibrated from good parts alone.

Everywhere a part or a pixel is anomalous when `score >= threshold`, as in the service.
"""

from __future__ import annotations

import math
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from core.calibration import calibrate
from core.evaluate.result import Decile, Operation, Rate
from core.remedy import extra

BINS = 2**19
"""Bins of width 1 / BINS that pixel scores are counted in. A power of two, so that no score is rounded across one."""
FPR_LIMIT = 0.3
"""PRO is integrated over false-positive rates from 0 to this one."""


def image_metrics(
    scores: NDArray[np.float64], labels: NDArray[np.bool_]
) -> tuple[float | None, float | None, float | None]:
    """AUROC, AUPR (average precision) and F1-max, each in [0, 1]; None for all three when only one label is present.

    F1-max is the best F1 of all thresholds. Parts of equal score fall on the same side of each of them.

    Args:
        scores: float [n], higher is more anomalous. Any finite range.
        labels: bool [n], True for defective parts.

    Raises:
        ValueError: The shapes differ or are not [n], `labels` is not bool, or a score is not finite.
        ModuleNotFoundError: scikit-learn is not installed.
    """
    _check_parts(scores, labels)
    if labels.all() or not labels.any():
        return None, None, None
    try:
        from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score
    except ModuleNotFoundError as error:
        message = f"image metrics need scikit-learn: {extra('evaluate')}"
        raise ModuleNotFoundError(message, name=error.name) from error

    precision, recall, _ = precision_recall_curve(labels, scores)
    # Where both are 0 there is no true positive, so F1 is 0 whatever the divisor.
    f1 = 2 * precision * recall / np.where(precision + recall > 0, precision + recall, 1)
    return float(roc_auc_score(labels, scores)), float(average_precision_score(labels, scores)), float(f1.max())


class PixelMetrics:
    """Pixel AUROC, PRO and pixel F1-max over any number of heatmaps, in memory that does not grow with them (12 MiB).

    Scores are counted in `BINS` equal bins over [0, 1), and 1 in a bin of its own. Thresholds are the bins' lower
    edges, so everything is exact where scores are multiples of 1 / BINS (1.9e-6); otherwise the only error is that
    scores inside one bin are taken for ties. With N normal and D defective pixels, n and d of them in a bin:

    - pAUROC is off by at most the sum of n * d / (2 * N * D) over the bins: half the share of pairs of a normal and a
      defective pixel that lie in one bin.
    - PRO is off by at most the sum of (n / N) * r / (2 * 0.3) over the bins below the limit, plus (n / N) * r / 0.3 of
      the bin that the limit falls into, where r is the rise of the mean overlap inside the bin.
    - pF1-max is never above the exact value, and never below it by more than the greatest
      2 * t / (t + f - n + D) - 2 * t / (t + f + D), where t and f are the defective and the normal pixels in the bin
      and above.

    Those are worst cases, which the order of scores inside the bins would have to conspire for. On random maps in a
    band of scores 0.02 wide, ten maps of 240 x 240 gave pAUROC to 1e-6, PRO to 1e-5 and pF1-max to 1e-4.
    """

    def __init__(self) -> None:
        self._pixels = np.zeros(BINS + 1, np.int64)
        self._defective = np.zeros(BINS + 1, np.int64)
        # Sum over defective pixels of 1 / (area of the pixel's region): cumulated, the overlap summed over regions.
        self._overlap = np.zeros(BINS + 1, np.float64)
        self._regions = 0

    def update(self, heatmap: NDArray[np.float32], mask: NDArray[np.bool_]) -> None:
        """Counts one picture. A picture that is refused leaves the counts as they were.

        Args:
            heatmap: float32 [H, W] in [0, 1], higher is more anomalous.
            mask: bool [H, W], True on the defect. Its 8-connected parts are the regions of PRO.

        Raises:
            ValueError: The shapes differ, are not [H, W] or have no pixel, a dtype is another one, or a score is
                outside [0, 1] or not a number.
        """
        _check_picture(heatmap, mask)
        # Exact: a product with a power of two only changes the exponent.
        bins = (heatmap.ravel() * np.float32(BINS)).astype(np.intp)
        np.add.at(self._pixels, bins, 1)
        defective = np.flatnonzero(mask)
        if not defective.size:
            return
        count, regions = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
        inside, region = bins[defective], regions.ravel()[defective]
        np.add.at(self._defective, inside, 1)
        np.add.at(self._overlap, inside, 1 / np.bincount(region, minlength=count)[region])
        self._regions += count - 1  # the first is the background

    def compute(self) -> tuple[float | None, float | None, float | None]:
        """pAUROC, PRO up to a false-positive rate of 0.3 and pF1-max of all pictures so far, each in [0, 1].

        PRO at a threshold is the mean, over all regions of all pictures, of the share of the region's pixels at or
        above it; the false-positive rate is the share of normal pixels. The curve is linear between thresholds and up
        to the limit, and its area is divided by the limit.

        None for all three when there is no defective pixel or no normal one.
        """
        used = np.flatnonzero(self._pixels)[::-1]
        true = _from_zero(self._defective[used])
        false = _from_zero(self._pixels[used]) - true
        normal, defective = false[-1], true[-1]
        if not normal or not defective:
            return None, None, None
        fpr = false / normal
        # The sum of reciprocals of areas may pass 1 by a rounding error.
        pro = np.minimum(_from_zero(self._overlap[used]) / self._regions, 1.0)
        f1 = 2 * true / (true + false + defective)
        return _area(fpr, true / defective), _area(*_up_to(FPR_LIMIT, fpr, pro)) / FPR_LIMIT, float(f1.max())


def wilson(successes: int, count: int, z: float = 1.96) -> Rate:
    """The share `successes / count` and its Wilson score interval, inside [0, 1] and around the share.

    Args:
        z: Half-width of the interval in standard deviations; 1.96 for 95 %.

    Raises:
        ValueError: `count` is below 1 or `successes` is not from 0 to `count`.
    """
    if count < 1 or not 0 <= successes <= count:
        raise ValueError(f"no share of {successes} in {count} parts")
    share = successes / count
    middle = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z / (1 + z * z / count) * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    # At the ends the interval reaches the share exactly; in floats it may miss it by a rounding error.
    low = 0.0 if successes == 0 else max(middle - half, 0.0)
    high = 1.0 if successes == count else min(middle + half, 1.0)
    return Rate(value=share, low=low, high=high, count=count)


def operate(
    scores: NDArray[np.float64], labels: NDArray[np.bool_], normal_scores: NDArray[np.float64], rate: float = 0.05
) -> Operation:
    """False alarms among the good and escapes among the defective test parts at the threshold that `rate` gives.

    A rate is None where there are no parts of that label.

    Args:
        scores: float [n], of the test parts.
        labels: bool [n], True for defective parts.
        normal_scores: float [m], m >= 1, in [0, 1], of good parts that are not among the test parts, as they came.
        rate: The false-alarm rate asked for, in (0, 1).

    Raises:
        ValueError: As `image_metrics` and `calibrate`.
    """
    _check_parts(scores, labels)
    calibration = calibrate(normal_scores.tolist(), rate)
    anomalous = scores >= calibration.threshold
    good, defective = int((~labels).sum()), int(labels.sum())
    return Operation(
        threshold=calibration.threshold,
        normals=calibration.count,
        promised=calibration.rate,
        false_alarms=wilson(int((anomalous & ~labels).sum()), good) if good else None,
        escapes=wilson(int((~anomalous & labels).sum()), defective) if defective else None,
    )


def deciles(areas: NDArray[np.float64], found: NDArray[np.bool_]) -> tuple[Decile, ...]:
    """Defective parts in tenths of equal count (to within one part) by the area of their defect, smallest first.

    Fewer than ten parts make as many groups as there are parts; no part makes none. Parts of equal area keep their
    order, so that a group's edge may run between them.

    Args:
        areas: float [n] in [0, 1], the share of the picture that the defect covers.
        found: bool [n], whether the part was called anomalous.

    Raises:
        ValueError: The shapes differ or are not [n], `found` is not bool, or an area is outside [0, 1].
    """
    if areas.ndim != 1 or areas.shape != found.shape:
        raise ValueError(f"areas {areas.shape} and found {found.shape} must be of one shape [n]")
    if found.dtype != np.bool_:
        raise ValueError(f"found must be bool, not {found.dtype}")
    if not ((areas >= 0) & (areas <= 1)).all():
        raise ValueError("areas must be within [0, 1]")
    if not areas.size:
        return ()
    groups = np.array_split(np.argsort(areas, kind="stable"), min(10, len(areas)))
    return tuple(
        Decile(
            smallest=float(areas[group[0]]),
            largest=float(areas[group[-1]]),
            count=len(group),
            found=int(found[group].sum()),
        )
        for group in groups
    )


def _check_parts(scores: NDArray[np.float64], labels: NDArray[np.bool_]) -> None:
    if scores.ndim != 1 or scores.shape != labels.shape:
        raise ValueError(f"scores {scores.shape} and labels {labels.shape} must be of one shape [n]")
    if labels.dtype != np.bool_:
        raise ValueError(f"labels must be bool, not {labels.dtype}")
    if not np.isfinite(scores).all():
        raise ValueError("scores must be finite")


def _check_picture(heatmap: NDArray[np.float32], mask: NDArray[np.bool_]) -> None:
    if heatmap.ndim != 2 or heatmap.shape != mask.shape or not heatmap.size:
        raise ValueError(f"heatmap {heatmap.shape} and mask {mask.shape} must be of one shape [H, W]")
    if heatmap.dtype != np.float32:
        raise ValueError(f"heatmap must be float32, not {heatmap.dtype}")
    if mask.dtype != np.bool_:
        raise ValueError(f"mask must be bool, not {mask.dtype}")
    low, high = heatmap.min(), heatmap.max()
    # Put this way round because every comparison with NaN is False.
    if not (low >= 0 and high <= 1):
        raise ValueError(f"heatmap must be within [0, 1] and without NaN, not from {low} to {high}")


def _from_zero(counts: NDArray[Any]) -> NDArray[Any]:
    """Cumulative sums, with the 0 of a threshold above every score before them."""
    return np.concatenate([np.zeros(1, counts.dtype), np.cumsum(counts)])


def _up_to(limit: float, x: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[NDArray[Any], NDArray[Any]]:
    """The part of a curve with x <= limit, with its end interpolated. `x` does not fall, and passes `limit`."""
    cut = int(np.searchsorted(x, limit, side="right"))
    end = y[cut - 1] + (y[cut] - y[cut - 1]) * (limit - x[cut - 1]) / (x[cut] - x[cut - 1])
    return np.append(x[:cut], limit), np.append(y[:cut], end)


def _area(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    """Under the polygon through the points, by trapezoids."""
    return float(np.sum(np.diff(x) * (y[1:] + y[:-1]) / 2))
