"""Whether a part lies turned beside another: small views of both, compared at every angle and at small shifts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from core.bank.augment import turned

Grey = NDArray[np.float32]

_SIDE = 32  # cells along each side of a view
_SHIFT = 3  # cells, some 10 % of the side, by which a part may lie elsewhere than another
_WIDTH = _SIDE - 2 * _SHIFT  # diameter of the circle that is compared: a turn brings nothing in from outside of it
_STEP = 10  # degrees; halfway between two steps, thin parts still match
_NEAR, _FAR = 15, 25  # degrees from a covered turn up to which a picture is as if straight, and from which it is turned

_LEAST_MATCH = 0.7
"""Correlation of a turned view with another: below it they have too little in common to tell how they lie."""
_MARGIN = 0.25
"""What a turned view may leave unexplained of another (1 - r^2) of what straight views leave. Between the parts of 39
simulated lines that do not turn the least was 0.28 (a spring) and 0.39 (a seal); turned screws and boards have 0.1.
Round parts and even surfaces look alike at every angle, and pass."""


@dataclass(frozen=True)
class Turn:
    """How another view is turned.

    Attributes:
        degrees: By about how much, either way, 0..180.
        place: Which of the others it is like when turned.
    """

    degrees: int
    place: int


def centre(grey: Grey) -> Grey:
    """The view [32, 32] of a picture's centre square, for `turn_between`: in that, a turn is a turn."""
    height, width = grey.shape
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = grey[top : top + side, left : left + side].astype(np.float32)
    return np.asarray(cv2.resize(square, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA), np.float32)


def turn_between(view: Grey, others: Sequence[Grey], covered: Sequence[int] = (0,)) -> Turn | None:
    """The turn with which a view is clearly more like one of the others than it is with a turn that is covered.

    Args:
        view: Of `centre`.
        others: Those of other pictures.
        covered: Degrees, counter-clockwise, by which the others are known turned as well.
    """
    angles = np.arange(0, 360, _STEP)
    apart = np.abs((angles[:, None] - np.asarray(covered) + 180) % 360 - 180).min(1)
    far = apart >= _FAR
    if not others or not far.any():
        return None
    views = _turned(view, angles)
    matches = np.stack([(views @ _shifted(other).T).max(1) for other in others])
    straight = float(matches[:, apart <= _NEAR].max())
    best = np.where(far, matches, -1.0)
    place, angle = np.unravel_index(int(best.argmax()), best.shape)
    match = float(best[place, angle])
    if match < _LEAST_MATCH or 1 - match**2 >= _MARGIN * (1 - max(straight, 0.0) ** 2):
        return None
    degrees = int(angles[angle])
    return Turn(min(degrees, 360 - degrees), int(place))


def _turned(view: Grey, angles: NDArray[np.int_]) -> Grey:
    """[angles, cells of the circle]: the view turned by each angle, as unit vectors without their mean."""
    return _units(np.stack([turned(view, float(angle))[_SHIFT:-_SHIFT, _SHIFT:-_SHIFT] for angle in angles]))


def _shifted(view: Grey) -> Grey:
    """[shifts, cells of the circle]: the view at each shift, as unit vectors without their mean."""
    return _units(np.lib.stride_tricks.sliding_window_view(view, (_WIDTH, _WIDTH)).reshape(-1, _WIDTH, _WIDTH))


def _units(views: NDArray[np.float32]) -> Grey:
    rows, cols = np.mgrid[:_WIDTH, :_WIDTH] - (_WIDTH - 1) / 2
    cells = views[:, rows**2 + cols**2 <= (_WIDTH / 2) ** 2]
    cells = cells - cells.mean(1, keepdims=True)
    return np.asarray(cells / np.maximum(np.linalg.norm(cells, axis=1, keepdims=True), 1e-6), np.float32)
