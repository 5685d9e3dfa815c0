"""The rows of a batch: each frame has text features, and perhaps an index, of its own."""

from __future__ import annotations

from collections.abc import Sequence

from core.adaptation import TextFeatures
from core.bank.memory import Index
from core.picture import kind_of


def check_rows(
    count: int,
    texts: Sequence[TextFeatures],
    indexes: Sequence[Index | None] | None,
    sizes: Sequence[tuple[int, int]] | None = None,
    frames: Sequence[object] = (),
) -> None:
    """Raises ValueError unless there is one of everything for each of `count` frames.

    Fewer texts than frames would be answers for some of the frames, and nobody could tell for which.

    Args:
        count: Frames.
        texts: As of `Alfa.inspect`.
        indexes: The same.
        sizes: As of `Alfa.inspect_pixels`; None where frames have their own.
        frames: The same; they may be missing where no index needs them.
    """
    _check("texts", texts, count, TextFeatures)
    if indexes is not None:
        _check("indexes", indexes, count, Index, type(None))
    if sizes is not None:
        _check("sizes", sizes, count, tuple)
    if len(frames):
        _check("frames", frames, count, object)
    elif sizes is not None and any(index is not None and index.shape is not None for index in indexes or ()):
        raise ValueError("an index that holds evidence needs the frames themselves; give frames beside pixels")


def _check(name: str, values: object, count: int, *kinds: type) -> None:
    if not isinstance(values, Sequence) or isinstance(values, str):
        raise ValueError(f"{name} is {kind_of(values)}; give a list, one for each frame")
    if len(values) != count:
        raise ValueError(f"{count} frames and {len(values)} {name}; give as many, one for each frame")
    for place, value in enumerate(values):
        if not isinstance(value, kinds):
            raise ValueError(f"{name}[{place}] is {kind_of(value)}; give {kinds[0].__name__}")
