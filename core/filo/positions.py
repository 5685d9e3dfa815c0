"""The nine positions of a frame, as prompts name them."""

from __future__ import annotations

POSITIONS = ("top left", "top", "top right", "left", "center", "right", "bottom left", "bottom", "bottom right")

# The release places centres, in pixels of 518, by whole numbers: what lies between two cells lies in none.
_RELEASED_SIDE = 518
_RELEASED_CELLS = ((0, 172), (173, 344), (345, 517))


def position_at(x: float, y: float, *, released: bool = False) -> int | None:
    """The index in `POSITIONS` of the cell that holds a point, given in shares of the frame's width and height.

    With `released` a point on the seam between two cells is in none: None, which stands for all nine.
    """
    cell = _released_cell if released else _cell
    column, row = cell(x), cell(y)
    return None if column is None or row is None else 3 * row + column


def _cell(share: float) -> int | None:
    return min(max(int(share * 3), 0), 2)


def _released_cell(share: float) -> int | None:
    place = share * _RELEASED_SIDE
    return next((cell for cell, (low, high) in enumerate(_RELEASED_CELLS) if low <= place <= high), None)
