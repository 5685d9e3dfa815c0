"""Few-shot settings of an evaluation: feature maps of pictures and of drawn shots, and what scores them.

`evidence` is what lines use. The others compare one feature map, a tower's: `nearest` with a DINOv2 is like
AnomalyDINO, with strides 8 and 16 of a CNN like PatchCore; `subspace` is like SubspaceAD; `mutual` is like MuSc,
without shots: the test pictures score each other. Their distances d become scores d / (1 + d).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from core.backbone import Backbone
from core.bank.augment import variants
from core.bank.evidence import gather
from core.bank.feature_maps import FeatureMaps, MapKind, fitted_size, joined
from core.bank.mutual import mutual, unlike
from core.bank.neighbours import nearest
from core.bank.scorers import fit_subspace, residual, top_mean
from core.evaluate.map_cache import MapCache, View
from core.image import Rgb
from core.tiles import WHOLE, Tiling
from core.towers import Tower

SCORERS = ("evidence", "nearest", "subspace", "mutual")
SOURCES = ("both", "clip", "tower")


@dataclass(frozen=True)
class FewShot:
    """How parts are compared with normal shots.

    Attributes:
        scorer: One of `SCORERS`.
        sources: Of evidence, which maps are heard; one of `SOURCES`. With `tower` the text is not heard either.
        within: Of the other scorers, the place a patch is held to, patches; None for none.
        augment: The views of a shot; see `core.bank.augment`.
    """

    scorer: str = "evidence"
    sources: str = "both"
    within: int | None = None
    augment: str = "none"

    def __post_init__(self) -> None:
        if self.scorer not in SCORERS:
            raise ValueError(f"scorer {self.scorer!r} is not known; use one of {', '.join(SCORERS)}")
        if self.sources not in SOURCES:
            raise ValueError(f"sources {self.sources!r} are not known; use one of {', '.join(SOURCES)}")
        if self.within is not None and (self.within < 0 or self.scorer == "evidence"):
            raise ValueError(f"within {self.within}: 0 or more patches, and not for evidence, which has its own")
        variants(self.augment)


class Judge(Protocol):
    """What scores a picture in one setting."""

    def __call__(self, maps: Sequence[Tensor], texts: Tensor | None, digest: str, /) -> tuple[Tensor, Tensor]:
        """Score [1] and map [1, rows, cols], in [0, 1], of the maps of one picture and what its text side says."""


class TowerMap:
    """All layers of a tower beside each other, each of unit length, on the finest grid: one map."""

    def __init__(self, tower: Tower, shape: tuple[int, int]) -> None:
        self._tower = tower if tower.fixed else tower.at(fitted_size(shape, tower.size, tower.stride))
        shape_of = (*self._tower.grid, tower.channels)
        self.kinds = (MapKind(f"{tower.name}:joined", self._tower.fingerprint, shape_of),)

    @torch.inference_mode()
    def __call__(self, frames: Sequence[Rgb]) -> tuple[Tensor, ...]:
        return tuple(joined(self._tower.features(frames)))


class MapStore:
    """Feature maps of pictures, by the shape of a class's pictures.

    Args:
        backbone: The CLIP.
        tower: The second model; None for none.
        root: Folder of the cache.
        batch: Pictures in one pass.
        encoded: Called after each batch with its number of pictures, and whether they were encoded.
        resume: Keep what earlier runs left.
        fine: As of `FeatureMaps`.
    """

    def __init__(
        self,
        backbone: Backbone,
        tower: Tower | None,
        root: Path,
        batch: int,
        encoded: Callable[[int, bool], None],
        resume: bool = True,
        fine: bool = True,
    ) -> None:
        self._backbone, self._tower, self._fine = backbone, tower, fine
        self._root, self._batch, self._encoded = root, batch, encoded
        self._resume = resume
        self._made: dict[tuple[bool, tuple[int, int], str], MapCache] = {}
        self._cleared: set[Path] = set()

    def cache(self, few: FewShot, sizes: Sequence[tuple[int, int]], tiling: Tiling = WHOLE) -> MapCache:
        """The maps that `few` compares, in the shape of most pictures of these sizes, or of their tiles.

        Raises:
            ValueError: it needs a tower, and there is none.
        """
        single = few.scorer != "evidence"
        if self._tower is None and (single or few.sources == "tower"):
            raise ValueError(f"{few.scorer} of a tower's features needs a tower")
        key = (single, tiling.tile_size(median_shape(sizes)), tiling.name)
        if key not in self._made:
            maps: FeatureMaps | TowerMap
            if single and self._tower is not None:
                maps = TowerMap(self._tower, key[1])
            else:
                maps = FeatureMaps(self._backbone, self._tower, key[1], fine=self._fine)
            cache = MapCache(self._root, maps.kinds, maps.__call__, self._backbone, self._batch, self._encoded, tiling)
            if not self._resume and cache.folder not in self._cleared:
                cache.clear()
            self._cleared.add(cache.folder)
            self._made[key] = cache
        return self._made[key]


def median_shape(sizes: Sequence[tuple[int, int]]) -> tuple[int, int]:
    """The size whose height for its width is the middle one: the lower of two."""
    return sorted(sizes, key=lambda size: (size[0] / size[1], size))[(len(sizes) - 1) // 2]


def views(few: FewShot, path: Path, digest: str) -> list[View]:
    """A shot as it is, and its other views."""
    return [View(path, digest, variant) for variant in variants(few.augment)]


@torch.inference_mode()
def judge_of(
    few: FewShot, cache: MapCache, shots: Sequence[Sequence[View]], texts: Tensor | None, place: int = 0
) -> Judge:
    """What compares with these shots.

    Args:
        few: How.
        cache: Has the maps of all views.
        shots: The views of each shot, at least one shot.
        texts: What the text side says of the shots: [S, 1], or [S, 2] with windows.
        place: Of the tile that is compared.
    """
    held = [[one[place : place + 1] for one in cache.load(view)] for of_one in shots for view in of_one]
    banks = [torch.cat(kind) for kind in zip(*held, strict=True)]
    if few.scorer != "evidence":
        return _single(few, banks[0])
    places = _places(few, cache.kinds)
    owners = [owner for owner, of_one in enumerate(shots) for _ in of_one]
    evidence = gather([cache.kinds[place].name for place in places], [banks[place] for place in places], owners)
    heard = texts if few.sources != "tower" else None
    if heard is not None:
        evidence = evidence.heard(heard)

    def judge(maps: Sequence[Tensor], said: Tensor | None, digest: str) -> tuple[Tensor, Tensor]:
        return evidence.judge([maps[place] for place in places], said if heard is not None else None)

    return judge


@torch.inference_mode()
def mutual_judge(few: FewShot, cache: MapCache, pictures: Sequence[View], place: int = 0) -> Judge:
    """What compares one place of tiles of pictures with each other, and others with them; at least two pictures."""
    parts = torch.cat([cache.load(view)[0][place : place + 1] for view in pictures])
    among = dict(zip((view.digest for view in pictures), mutual(parts, within=few.within), strict=True))

    def judge(maps: Sequence[Tensor], said: Tensor | None, digest: str) -> tuple[Tensor, Tensor]:
        found = among[digest] if digest in among else unlike(maps[0][0], parts, within=few.within)
        return _pooled(found[None], 0.0)

    return judge


def _single(few: FewShot, bank: Tensor) -> Judge:
    subspace = fit_subspace(bank, within=few.within) if few.scorer == "subspace" else None

    def judge(maps: Sequence[Tensor], said: Tensor | None, digest: str) -> tuple[Tensor, Tensor]:
        found = nearest(maps[0], bank, few.within).amin(1) if subspace is None else residual(maps[0], subspace)
        return _pooled(found, 0.01)

    return judge


def _pooled(distances: Tensor, share: float) -> tuple[Tensor, Tensor]:
    image = top_mean(distances, share)
    return image / (1 + image), distances / (1 + distances)


def _places(few: FewShot, kinds: Sequence[MapKind]) -> list[int]:
    """Of the maps that are heard."""
    own = [kind.name.split(":")[0] == "clip" for kind in kinds]
    return [place for place, clip in enumerate(own) if few.sources == "both" or clip == (few.sources == "clip")]


def to_numpy(patch_map: Tensor) -> NDArray[np.float32]:
    """[1, rows, cols] as float32 [rows, cols] in [0, 1]."""
    return patch_map[0].clamp(0, 1).float().cpu().numpy()
