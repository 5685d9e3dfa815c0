"""The masks of a sample as one map, and what is odd about the masks of a class."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from core.evaluate.datasets.mask_file import MaskFile, picture_size, read_mask_file
from core.evaluate.datasets.sample import Sample, listed
from core.image import ImageError

_ASPECT = 0.01
"""By how much a mask's aspect may differ from its picture's, as a share."""


def read_mask(
    sample: Sample, size: tuple[int, int], picture: tuple[int, int] | None = None, inverted: bool = False
) -> NDArray[np.bool_]:
    """Where the defect is: [H, W] of `size` (height, width), the union of the sample's masks.

    False throughout for a good part, and for a defect without a mask: `sample.masks` tells the two apart, and pixel
    metrics must leave the latter out.

    `read_mask_file` says what of a file is defect. A mask is resized by the nearest neighbour, as in the papers. One
    that has a defect and would lose all of it marks instead each cell that one of its pixels lies in, so that no mask
    vanishes; a mask that is black in the file stays so.

    Args:
        sample: Whose masks.
        size: Of the map.
        picture: Height and width of the sample's picture; taken from its file if they are not given.
        inverted: Whether the masks mark what is no defect, as `MaskSurvey` finds.

    Raises:
        ImageError: a mask, or the picture's size, cannot be read, or their aspects differ by more than 1 %.
    """
    found = np.zeros(size, np.bool_)
    for mask in _read_all(sample, picture):
        found |= _resize(mask.marked != inverted, size)
    return found


class MaskSurvey:
    """What the masks of one class have in common, and what is odd about them: `look` at all samples, then ask."""

    def __init__(self) -> None:
        self._shares: dict[Path, float] = {}
        self._surrounding: set[Path] = set()
        self._greys: list[Path] = []
        self._coloured: list[Path] = []

    def look(self, sample: Sample, picture: tuple[int, int] | None = None) -> None:
        """Takes in the masks of a sample.

        Raises:
            ImageError: as `read_mask`.
        """
        for path, mask in zip(sample.masks, _read_all(sample, picture), strict=True):
            self._shares[path] = mask.share
            if mask.surrounds:
                self._surrounding.add(path)
            if mask.greys:
                self._greys.append(path)
            if not mask.black:
                self._coloured.append(path)

    @property
    def inverted(self) -> bool:
        """Whether the masks mark what surrounds the defects: every one that does not mark all of its picture."""
        partial = {path for path, share in self._shares.items() if share < 1.0}
        return bool(partial) and partial == self._surrounding

    def notes(self, root: Path) -> list[str]:
        """A sentence for each oddity, with files named from `root`."""
        shares = {path: 1.0 - share if self.inverted else share for path, share in self._shares.items()}
        odd = {
            "Masks that mark all around the defects, read as inverted": self._surrounding if self.inverted else (),
            "Masks of more than half of the picture": (path for path, share in shares.items() if share > 0.5),
            "Masks without a defect": (path for path, share in shares.items() if share == 0.0),
            "Masks of many greys, of which the brighter half is the defect": self._greys,
            "Masks without black, of which the commonest colour is the background": self._coloured,
        }
        files = {words: sorted(paths) for words, paths in odd.items()}
        return [f"{words}: {listed(paths, root)}." for words, paths in files.items() if paths]


def _read_all(sample: Sample, picture: tuple[int, int] | None) -> list[MaskFile]:
    if not sample.masks:
        return []
    height, width = picture or picture_size(sample.path)
    found = []
    for path in sample.masks:
        mask = read_mask_file(path)
        rows, columns = mask.marked.shape
        stretch = columns * height / (rows * width)
        if max(stretch, 1 / stretch) > 1 + _ASPECT:
            sizes = f"{columns} x {rows} for a picture of {width} x {height}"
            raise ImageError(f"{path}: a mask of {sizes} ({sample.path})")
        found.append(mask)
    return found


def _resize(mask: NDArray[np.bool_], size: tuple[int, int]) -> NDArray[np.bool_]:
    """[h, w] -> [H, W]."""
    # The source pixel under each cell's centre, in whole numbers so that it is the same everywhere.
    rows, columns = ((2 * np.arange(new) + 1) * old // (2 * new) for new, old in zip(size, mask.shape, strict=True))
    small: NDArray[np.bool_] = mask[np.ix_(rows, columns)]
    if not small.any() and mask.any():
        ys, xs = np.nonzero(mask)
        small[ys * size[0] // mask.shape[0], xs * size[1] // mask.shape[1]] = True
    return small
