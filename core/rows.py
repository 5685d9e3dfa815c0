"""The rows of a batch: each frame has text features, and perhaps an index and a tiling, of its own."""

from __future__ import annotations

from collections.abc import Sequence

from core.adaptation import TextFeatures
from core.bank.memory import Index
from core.bank.tiled_index import AnyIndex, TiledIndex
from core.picture import kind_of
from core.tiles import Tiling


def check_rows(
    count: int,
    texts: Sequence[object],
    indexes: Sequence[AnyIndex | None] | None,
    *,
    tilings: Sequence[Tiling] | None = None,
    sizes: Sequence[tuple[int, int]] | None = None,
    frames: Sequence[object] = (),
    kind: type = TextFeatures,
) -> None:
    """Raises ValueError unless there is one of everything for each of `count` frames; what is None is left out.

    Fewer texts than frames would be answers for some of the frames, and nobody could tell for which.

    Args:
        count: Frames.
        texts: As of `Alfa.inspect`.
        indexes: The same.
        tilings: The same.
        sizes: As of `Alfa.inspect_pixels`.
        frames: The same; they may be missing where no index needs them.
        kind: What texts are.
    """
    _check("texts", texts, count, kind)
    _check("indexes", indexes, count, Index, TiledIndex, type(None))
    _check("tilings", tilings, count, Tiling)
    _check("sizes", sizes, count, tuple)
    if len(frames):
        _check("frames", frames, count, object)
    elif sizes is not None and any(isinstance(index, Index) and index.shape is not None for index in indexes or ()):
        raise ValueError("an index that holds evidence needs the frames themselves; give frames beside pixels")


def _check(name: str, values: object, count: int, *kinds: type) -> None:
    if values is None and name != "texts":
        return
    if not isinstance(values, Sequence) or isinstance(values, str):
        raise ValueError(f"{name} is {kind_of(values)}; give a list, one for each frame")
    if len(values) != count:
        raise ValueError(f"{count} frames and {len(values)} {name}; give as many, one for each frame")
    for place, value in enumerate(values):
        if not isinstance(value, kinds):
            raise ValueError(f"{name}[{place}] is {kind_of(value)}; give {kinds[0].__name__}")
