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
from core.image import Rgb
from core.method import Method
from core.own_tower import OwnTower
from core.steps import Steps
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

    def maps_for(self, index: Index | None, frames: Sequence[Rgb]) -> tuple[Tensor, ...]:
        """The feature maps of frames that `index` compares, of each kind [B, R, C, d]; none where it compares none."""
        return () if index is None or index.shape is None else self.feature_maps(index.shape)(frames)

    def remember(self, features: Features, frame: Rgb, shape: tuple[int, int] | None = None) -> Memory:
        """The memory of one frame, on the CPU.

        Args:
            features: Of the pass over the frame, with patches.
            frame: uint8 [H, W, 3], RGB.
            shape: Height and width that its feature maps are made for, by default its own.

        Raises:
            ValueError: as `core.bank.memory.remember`.
        """
        memory = remember(features)
        maps: tuple[Tensor, ...] = ()
        if self._evidence:
            maps = self.feature_maps(shape or (frame.shape[0], frame.shape[1]))([frame])
        return Memory(
            tuple(scale.cpu().clone() for scale in memory.windows),
            memory.patches.cpu().clone(),
            tuple(kind.cpu().clone() for kind in maps),
        )

    @torch.inference_mode()
    def index_in_steps(
        self, memories: Sequence[Memory], owners: Sequence[int], shape: tuple[int, int], *, limit: int | None = None
    ) -> Steps[Index]:
        """What parts are compared with, in steps of about the cost of one part each: others are judged in between.

        Args:
            memories: At least one, each of one picture; shots and their views alike.
            owners: The shot of each.
            shape: What their feature maps are made for.
            limit: The most features of a kind.

        Raises:
            ValueError: as `memory.index_in_steps` and `evidence.gather`.
        """
        device = self._backbone.device
        if not self._evidence:
            return (yield from index_in_steps(memories, device, limit, owners))
        names = [kind.name for kind in self.feature_maps(shape).kinds]
        maps = [torch.cat(kind).to(device) for kind in zip(*(memory.maps for memory in memories), strict=True)]
        evidence = yield from gather_in_steps(names, maps, owners, limit)
        return Index((), torch.empty(0, device=device), evidence, shape)

    def hear(self, index: Index, texts: Sequence[tuple[float, float]]) -> Index:
        """`index` with the text side: S_G and the largest S~_L of the shots that are left out in turn."""
        if index.evidence is None:
            return index
        columns = 1 if self._method.windows == "none" else 2
        scores = torch.tensor(texts, device=self._backbone.device)[:, :columns]
        return replace(index, evidence=index.evidence.heard(scores))
