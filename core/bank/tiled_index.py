"""What parts are compared with where frames are cut into tiles: an index for each place of a tile."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from core.bank.evidence import views_kept
from core.bank.memory import Index, Memory
from core.steps import Steps
from core.tiles import Tiling, TilingError


@dataclass(frozen=True, eq=False)
class TiledIndex:
    """The normal shots by the place of their tiles.

    Attributes:
        tiling: Of shots and parts.
        tiles: For each place, row by row.
    """

    tiling: Tiling
    tiles: tuple[Index, ...]

    @property
    def weights(self) -> dict[str, float]:
        """The share of the say of each source of evidence, the mean over the places; nothing where none is heard."""
        found = [tile.weights for tile in self.tiles]
        return {source: sum(of_tile[source] for of_tile in found) / len(found) for source in found[0]}

    def without(self, owner: int) -> TiledIndex | None:
        """The index of the other shots, as `Index.without` at each place; None where it is at one."""
        tiles = [tile.without(owner) for tile in self.tiles]
        left = [tile for tile in tiles if tile is not None]
        return TiledIndex(self.tiling, tuple(left)) if len(left) == len(tiles) else None


AnyIndex: TypeAlias = "Index | TiledIndex"


def by_tile(index: AnyIndex | None, tiling: Tiling) -> Sequence[Index | None]:
    """What each tile of a frame is compared with.

    Raises:
        TilingError: the index is for another tiling.
    """
    if index is None:
        return [None] * tiling.count
    if index.tiling.name != tiling.name:
        shots, frame = (tiles.name or "1x1" for tiles in (index.tiling, tiling))
        raise TilingError(
            f"the normal shots are of tiles {shots}, and the frame is cut into {frame}: make their index for {frame}"
        )
    return index.tiles


def index_tiles(
    make: Callable[[Sequence[Memory], Sequence[int], tuple[int, int], int | None], Steps[Index]],
    memories: Sequence[Memory],
    owners: Sequence[int],
    shape: tuple[int, int],
    limit: int | None,
    tiling: Tiling,
) -> Steps[AnyIndex]:
    """The index of pictures in tiles, in steps.

    Args:
        make: Makes the index of one place, from memories of one tile each, their owners, the height and width of a
            tile, and the limit.
        memories: Each of one picture.
        owners: The shot of each.
        shape: Height and width of the pictures.
        limit: The most features of a kind at each place.
        tiling: Of the pictures.
    """
    if tiling.count == 1:
        return (yield from make(memories, owners, shape, limit))
    if memories[0].maps:  # a shot that is left out is to be left out at all places
        keep = views_kept([memory.maps for memory in memories], owners, limit)
        memories, owners, limit = [memories[view] for view in keep], [owners[view] for view in keep], None
    tiles = []
    for place in range(tiling.count):
        here = [memory.take(place) for memory in memories]
        tiles.append((yield from make(here, owners, tiling.tile_size(shape), limit)))
    return TiledIndex(tiling, tuple(tiles))


def left_out(index: AnyIndex) -> list[tuple[float, float]]:
    """What the shots reach when they are left out in turn, as parts would: S, and the peak of the map.

    Raises:
        ValueError: the shots are not compared by evidence.
    """
    scores, maps = [], []
    for tile in index.tiles:
        if tile.evidence is None:
            raise ValueError("the shots are not compared by evidence: score each against an index of the others")
        score, patch_map = tile.evidence.shots()
        scores.append(score.tolist())
        maps.append(patch_map.cpu().numpy())
    return [
        (max(of_shot), float(index.tiling.merge([of_tile[shot] for of_tile in maps]).max()))
        for shot, of_shot in enumerate(zip(*scores, strict=True))
    ]
