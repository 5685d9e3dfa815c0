"""Normal shots as the method compares parts with them: the features of a picture, and the index of many."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from core.backbone import Backbone
from core.bank.evidence import gather_in_steps
from core.bank.feature_maps import FeatureMaps
from core.bank.memory import Index, Memory, index_in_steps, remember
from core.bank.tiled_index import AnyIndex, index_tiles
from core.identity import Identity, identity_of
from core.image import Rgb
from core.method import Method
from core.own_tower import OwnTower
from core.steps import Steps
from core.tiles import WHOLE, Tiling
from core.towers import Tower
from core.vision import Features


class Indexer:
    """Makes of normal shots what one model and method compare parts with. For one thread at a time.

    Args:
        backbone: The CLIP.
        tower: A second model whose feature maps are compared, on the same device; None for none.
        method: Says how parts are compared with shots.

    Raises:
        ValueError: the model has no such `memory_layers`.
    """

    def __init__(self, backbone: Backbone, tower: Tower | None, method: Method) -> None:
        self._evidence = method.few_shot == "evidence"
        if self._evidence and method.memory_layers is not None:
            OwnTower(backbone, None, method.memory_layers)  # refuses blocks that there are not
        self._backbone = backbone
        self._tower = tower
        self._method = method
        self._by_shape: dict[tuple[int, int], FeatureMaps] = {}

    def feature_maps(self, shape: tuple[int, int]) -> FeatureMaps:
        """What makes the feature maps of pictures of about this height and width, pixels."""
        if shape not in self._by_shape:
            fine = self._method.windows != "none"  # who leaves the windows out wants to be fast
            layers = self._method.memory_layers
            self._by_shape[shape] = FeatureMaps(self._backbone, self._tower, shape, layers, fine)
        return self._by_shape[shape]

    def maps_of(self, indexes: Sequence[Index | None], frames: Sequence[Rgb]) -> list[tuple[Tensor, ...]]:
        """Of each frame the feature maps that its index compares, [1, R, C, d] of each kind; none where there are none.

        Those of all frames of one shape are made together.
        """
        found: list[tuple[Tensor, ...]] = [()] * len(indexes)
        shapes = [None if index is None else index.shape for index in indexes]
        for shape in {shape for shape in shapes if shape is not None}:
            rows = [row for row, other in enumerate(shapes) if other == shape]
            kinds = self.feature_maps(shape)([frames[row] for row in rows])
            for place, row in enumerate(rows):
                found[row] = tuple(kind[place : place + 1] for kind in kinds)
        return found

    def remember(self, features: Features, frames: Sequence[Rgb], shape: tuple[int, int]) -> Memory:
        """The memory of frames, on the CPU.

        Args:
            features: Of the pass over the frames, with patches.
            frames: uint8 [H, W, 3], RGB.
            shape: Height and width that their feature maps are made for.

        Raises:
            ValueError: as `core.bank.memory.remember`.
        """
        memory = remember(features)
        maps: tuple[Tensor, ...] = ()
        if self._evidence:
            maps = self.feature_maps(shape)(frames)
        return Memory(
            tuple(scale.cpu().clone() for scale in memory.windows),
            memory.patches.cpu().clone(),
            tuple(kind.cpu().clone() for kind in maps),
            self.identity(shape),
        )

    def identity(self, shape: tuple[int, int] | None) -> Identity:
        """What features are made by, of pictures of about this height and width; None: without feature maps."""
        made_by = identity_of(self._backbone.fingerprint, self._method)
        if not self._evidence or shape is None:
            return made_by
        return made_by.with_maps(tuple(kind.fingerprint for kind in self.feature_maps(shape).kinds))

    def refuse_others(self, indexes: Sequence[Index | None]) -> None:
        """Raises OtherIdentityError where an index was made by another model, or for other windows or maps."""
        for index in {id(index): index for index in indexes if index is not None}.values():
            made_by = identity_of(self._backbone.fingerprint, self._method)
            if index.shape is not None:
                made_by = made_by.with_maps(tuple(kind.fingerprint for kind in self.feature_maps(index.shape).kinds))
            made_by.refuse(index.made_by, "the index of normal shots")

    @torch.inference_mode()
    def index_in_steps(
        self,
        memories: Sequence[Memory],
        owners: Sequence[int],
        shape: tuple[int, int],
        *,
        limit: int | None = None,
        tiling: Tiling = WHOLE,
    ) -> Steps[AnyIndex]:
        """What parts are compared with, in steps of about the cost of one part each: others are judged in between.

        Args:
            memories: At least one, each of one picture; shots and their views alike.
            owners: The shot of each.
            shape: What their feature maps are made for, height and width of a picture.
            limit: The most features of a kind, at each place of a tile.
            tiling: Of the pictures.

        Raises:
            OtherIdentityError: a memory was made by another model, or for other windows or maps.
            ValueError: as `memory.index_in_steps` and `evidence.gather`.
        """
        for memory in memories:
            self.identity(tiling.tile_size(shape)).refuse(memory.made_by, "a normal shot")
        return (yield from index_tiles(self._index, memories, owners, shape, limit, tiling))

    def _index(
        self, memories: Sequence[Memory], owners: Sequence[int], shape: tuple[int, int], limit: int | None
    ) -> Steps[Index]:
        device = self._backbone.device
        if not self._evidence:
            index = yield from index_in_steps(memories, device, limit, owners)
            return replace(index, made_by=self.identity(None))
        names = [kind.name for kind in self.feature_maps(shape).kinds]
        maps = [torch.cat(kind).to(device) for kind in zip(*(memory.maps for memory in memories), strict=True)]
        evidence = yield from gather_in_steps(names, maps, owners, limit)
        return Index((), torch.empty(0, device=device), evidence, shape, made_by=self.identity(shape))

    def hear(self, index: Index, texts: Sequence[tuple[float, float]]) -> Index:
        """`index` with the text side: S_G and the largest S~_L of the shots that are left out in turn."""
        if index.evidence is None:
            return index
        columns = 1 if self._method.windows == "none" else 2
        scores = torch.tensor(texts, device=self._backbone.device)[:, :columns]
        return replace(index, evidence=index.evidence.heard(scores))
