"""ALFA: frames to inspections, in the order of section 4 of the paper (Zhu et al., ACM MM 2024)."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from core.adaptation import Labels, TextFeatures, adapt, keep_all
from core.aligner import ALIGNERS
from core.backbone import DTYPES, Backbone
from core.bank.evidence import gather_in_steps
from core.bank.feature_maps import FeatureMaps
from core.bank.memory import Index, Memory, index_in_steps, reference_map, remember, search
from core.graph import GraphedPass
from core.image import Rgb
from core.inspection import Inspection as Inspection
from core.inspection import to_host
from core.masked import MaskedPass
from core.method import ALFA as ALFA
from core.method import AUTO as AUTO
from core.method import WINCLIP as WINCLIP
from core.method import Method as Method
from core.own_tower import OwnTower
from core.packs.compiled import CompiledPack
from core.packs.pack import TEMPLATE_PROMPTS, Prompts
from core.steps import Steps, finish
from core.towers import Tower
from core.vision import Features, VisionPass, lift
from core.windows import AGGREGATIONS, STRIDE, Windows, make_windows

_NO_SHOTS = "windows = none needs normal shots: without windows the map comes from them alone"


class Alfa:
    """The method on one model. Not for several threads at once."""

    def __init__(
        self, backbone: Backbone, method: Method = ALFA, *, patches: bool = False, tower: Tower | None = None
    ) -> None:
        """With `patches` the pass also gives the patch tokens that few-shot scoring needs.

        `tower` is a second model whose feature maps normal shots are compared in, on the same device.

        Raises:
            ValueError: a window is larger than the grid, there are neither windows nor `patches`, or the model has no
                such `memory_layers`.
        """
        if method.windows == "none" and not patches:
            raise ValueError(_NO_SHOTS)
        self.backbone = backbone
        self.tower = tower
        self._feature_maps: dict[tuple[int, int], FeatureMaps] = {}
        self._choose(method)
        self.windows = _windows_of(method, backbone)
        one_pass = MaskedPass if method.windows == "masked" else VisionPass
        self.vision: Callable[[Tensor], Features] = one_pass(
            backbone.visual, self.windows, dtype=DTYPES[backbone.dtype], patches=patches
        )

    def _choose(self, method: Method) -> None:
        traits = self.backbone.traits
        gain = traits.memory_gain if method.memory_gain is None else method.memory_gain
        self.method = replace(
            method,
            adaptation=traits.adaptation if method.adaptation is None else method.adaptation,
            aligner=traits.aligner if method.aligner == AUTO else method.aligner,
            memory_gain=gain,
        )
        if method.few_shot == "evidence" and method.memory_layers is not None:
            OwnTower(self.backbone, None, method.memory_layers)  # refuses blocks that there are not
        self._memory_gain = gain
        self._align = ALIGNERS[self.method.aligner]
        self._aggregate = AGGREGATIONS[method.aggregation]

    def with_method(self, method: Method) -> Alfa:
        """The same pass judged by another method, which must have the same windows."""
        asked, here = ((one.scales, one.stride, one.windows) for one in (method, self.method))
        if asked != here:
            raise ValueError(f"scales {method.scales} at stride {method.stride}, {method.windows}, are other windows")
        other = copy.copy(self)
        other._feature_maps = {}
        other._choose(method)
        return other

    @property
    def lift(self) -> Callable[[Tensor], Tensor]:
        """Carries attention values into the joint space; see `aligner`."""
        return partial(lift, self.backbone.visual)

    def warm_up(self, batch: int) -> None:
        """Readies the device for batches of 1 to `batch` frames: the first pass allocates, and CUDA captures graphs.

        Raises:
            BatchTooLargeError: the device's memory does not take `batch`.
        """
        if self.backbone.device.type == "cuda" and isinstance(self.vision, VisionPass):
            self.vision = GraphedPass(self.vision, batch)
        self.vision(self.backbone.pixels([np.zeros((64, 64, 3), np.uint8)]))

    def embed(self, prompts: Prompts) -> TextFeatures:
        """Prompts in the joint space, as the method wants them."""
        return self._texts(*(self.backbone.embed_text(side) for side in (prompts.normal, prompts.abnormal)))

    def text(self, pack: CompiledPack) -> TextFeatures:
        """A pack as the method wants it: with or without the LLM's sentences, and with its descriptors."""
        most = None if self.method.llm_prompts else TEMPLATE_PROMPTS
        described = F.normalize(pack.descriptors, dim=-1).to(self.backbone.device)
        return replace(
            self._texts(pack.normal[:most], pack.abnormal[:most]), descriptors=described, phrases=pack.phrases
        )

    def _texts(self, normal: Tensor, abnormal: Tensor) -> TextFeatures:
        if self.method.unit_prompts:
            normal, abnormal = F.normalize(normal, dim=-1), F.normalize(abnormal, dim=-1)
        return TextFeatures(normal.to(self.backbone.device), abnormal.to(self.backbone.device))

    def feature_maps(self, shape: tuple[int, int]) -> FeatureMaps:
        """What makes the feature maps of pictures of about this height and width, pixels."""
        if shape not in self._feature_maps:
            fine = self.method.windows != "none"  # who leaves the windows out wants to be fast
            self._feature_maps[shape] = FeatureMaps(self.backbone, self.tower, shape, self.method.memory_layers, fine)
        return self._feature_maps[shape]

    @torch.inference_mode()
    def remember(self, frame: Rgb, shape: tuple[int, int] | None = None) -> Memory:
        """The memory of one frame, on the CPU; `shape`: what its feature maps are made for, by default its own."""
        memory = remember(self.vision(self.backbone.pixels([frame])))
        maps: tuple[Tensor, ...] = ()
        if self.method.few_shot == "evidence":
            maps = self.feature_maps(shape or (frame.shape[0], frame.shape[1]))([frame])
        return Memory(
            tuple(one.cpu().clone() for one in memory.windows),
            memory.patches.cpu().clone(),
            tuple(one.cpu().clone() for one in maps),
        )

    def index(
        self,
        memories: Sequence[Memory],
        owners: Sequence[int],
        shape: tuple[int, int],
        *,
        limit: int | None = None,
    ) -> Index:
        """What parts are compared with.

        Args:
            memories: At least one, each of one picture; shots and their views alike.
            owners: The shot of each.
            shape: What their feature maps are made for.
            limit: The most features of a kind.

        Raises:
            ValueError: as `make_index` and `evidence.gather`.
        """
        return finish(self.index_in_steps(memories, owners, shape, limit=limit))

    @torch.inference_mode()
    def index_in_steps(
        self,
        memories: Sequence[Memory],
        owners: Sequence[int],
        shape: tuple[int, int],
        *,
        limit: int | None = None,
    ) -> Steps[Index]:
        """As `index`, in steps of about the cost of one part each, so that the device can judge parts in between."""
        device = self.backbone.device
        if self.method.few_shot == "alfa":
            return (yield from index_in_steps(memories, device, limit, owners))
        kinds = [kind.name for kind in self.feature_maps(shape).kinds]
        maps = [torch.cat(one).to(device) for one in zip(*(memory.maps for memory in memories), strict=True)]
        nothing = torch.empty(0, device=device)
        evidence = yield from gather_in_steps(kinds, maps, owners, limit)
        return Index((), nothing, evidence, shape)

    @torch.inference_mode()
    def text_scores(self, frame: Rgb, text: TextFeatures) -> tuple[float, float]:
        """S_G and the largest S~_L of one frame, zero-shot, each in [0, 1]; without windows S_G twice."""
        features = self.vision(self.backbone.pixels([frame]))
        labels = self.adapt(features.image, text)
        s_global = self.abnormal(features.image, labels.embedding)[:, None]
        s_local = self.aggregate(self.window_scores(features, labels.embedding), s_global)
        return float(s_global), float(s_global if s_local is None else s_local.amax())

    def hear(self, index: Index, texts: Sequence[tuple[float, float]]) -> Index:
        """`index` with the text side, which says S_G and the largest S~_L of the shots that are left out in turn."""
        if index.evidence is None:
            return index
        heard = torch.tensor(texts, device=self.backbone.device)[:, : 2 if self.windows else 1]
        return replace(index, evidence=index.evidence.heard(heard))

    def inspect(
        self, frames: Sequence[Rgb], texts: Sequence[TextFeatures], indexes: Sequence[Index | None] | None = None
    ) -> list[Inspection]:
        """Inspects frames (uint8 [H, W, 3], RGB, of any sizes), each by its own text features, in one pass.

        A frame that has an index of normal shots is also compared with them; this needs `patches`.

        Raises:
            ValueError: there are no windows, and a frame has no index.
        """
        sizes = [(frame.shape[0], frame.shape[1]) for frame in frames]
        return self.inspect_pixels(self.backbone.pixels(frames), texts, sizes, indexes, frames)

    @torch.inference_mode()
    def inspect_pixels(
        self,
        pixels: Tensor,
        texts: Sequence[TextFeatures],
        sizes: Sequence[tuple[int, int]],
        indexes: Sequence[Index | None] | None = None,
        frames: Sequence[Rgb] = (),
    ) -> list[Inspection]:
        """As `inspect`, for pixels [B, 3, H, W] as the model wants them and the sizes of their frames.

        The frames themselves are needed where an index holds evidence.
        """
        features = self.vision(pixels)
        inspections: dict[int, Inspection] = {}
        for text, index, rows in _by_recipe(texts, indexes or [None] * len(texts)):
            part = features if len(rows) == len(texts) else features.take(rows)
            maps: tuple[Tensor, ...] = ()
            if index is not None and index.shape is not None:
                maps = self.feature_maps(index.shape)([frames[row] for row in rows])
            judged = self._judge(part, maps, text, index, [sizes[row] for row in rows])
            inspections.update(zip(rows, judged, strict=True))
        return [inspections[row] for row in range(len(texts))]

    def _judge(
        self,
        features: Features,
        maps: Sequence[Tensor],
        text: TextFeatures,
        index: Index | None,
        sizes: Sequence[tuple[int, int]],
    ) -> list[Inspection]:
        labels = self.adapt(features.image, text)  # 4.2: F_TG
        s_global = self.abnormal(features.image, labels.embedding)[:, None]  # Eq. 10
        s_window = self.window_scores(features, labels.embedding)  # 4.3, Eq. 11
        s_local = self.aggregate(s_window, s_global)  # S~_L
        grid = self.backbone.grid
        if index is not None and index.evidence is not None:
            texts = s_global if s_local is None else torch.cat([s_global, s_local.amax(-1, keepdim=True)], 1)
            said, fused = index.evidence.judge(maps, texts)
            grid = (fused.shape[1], fused.shape[2])
            score, s_map = said[:, None], fused.flatten(1)
            reference: Tensor | None = s_map
        else:
            reference = None if index is None else reference_map(search(features, index), self.windows)[:, 0]
            score, s_map = self.fuse(s_global, s_local, reference)  # Eq. 12
        local = s_map if s_local is None else s_local
        parts = [local] if reference is None else [local, reference]
        scores = torch.cat([score, s_global, *(one.amax(-1, keepdim=True) for one in parts)], 1)
        likeness = self._likeness(features, s_window, text)
        return to_host(scores, s_map, labels, likeness, (grid, self.backbone.grid), sizes)

    def adapt(self, image: Tensor, text: TextFeatures) -> Labels:
        """4.2, Alg. 1: the label embeddings F_TG of images f(x) [B, d]."""
        if not self.method.adaptation:
            return keep_all(len(image), text)
        return adapt(image, text, empty_side=self.method.empty_side, weighted=self.method.weighted)

    def window_scores(self, features: Features, f_tg: Tensor) -> list[Tensor]:
        """4.3: S_L [B, W] of the windows of each scale, by labels F_TG [B, 2, d] moved to each window (Eq. 11)."""
        return [
            self.abnormal(embedding, self._align(f_tg, values))
            for embedding, values in zip(features.windows, features.values, strict=True)
        ]

    def aggregate(self, s_window: Sequence[Tensor], s_global: Tensor) -> Tensor | None:
        """S~_L [B, rows * cols] from the window scores of each scale; None without windows."""
        if not self.windows:
            return None
        return self._aggregate(s_window, self.windows, s_global if self.method.image_in_map else None)

    def fuse(self, s_global: Tensor, s_local: Tensor | None, reference: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """S [..., 1] and the map [..., N] of S_G [..., 1], S~_L [..., N] and, few-shot, the reference map (Eq. 12).

        The reference map, times `memory_gain`, is averaged with S~_L, and the image score takes its maximum. Without
        `local_in_image`, as in WinCLIP, the image score is S_G alone, or few-shot its mean with the maximum of the
        reference map. Without windows (`s_local` is None) the map is the reference map alone.

        Raises:
            ValueError: there is neither S~_L nor a reference map.
        """
        reference = None if reference is None else (reference * self._memory_gain).clamp(max=1)
        if s_local is None:
            if reference is None:
                raise ValueError(_NO_SHOTS)
            s_map = reference
        else:
            s_map = s_local if reference is None else (s_local + reference) / 2
        inside = s_map if self.method.local_in_image else reference
        return s_global if inside is None else (s_global + inside.amax(-1, keepdim=True)) / 2, s_map

    def abnormal(self, image: Tensor, labels: Tensor) -> Tensor:
        """Softmax over the two labels of <image, label> / temperature, its abnormal entry (Eq. 10, 11).

        Args:
            image: [..., d], unit length.
            labels: [..., 2, d], unit length; entry 1 is abnormal.
        """
        cosines = torch.einsum("...d,...td->...t", image, labels)
        return (cosines / self.method.temperature).softmax(-1)[..., 1]

    def _likeness(self, features: Features, s_window: Sequence[Tensor], text: TextFeatures) -> list[Tensor]:
        """Section 5: the descriptors' similarities to the images [B, D], and their indices by patch [B, N]."""
        if text.descriptors is None:
            return []
        similarity = features.image @ text.descriptors.T
        if not self.windows:  # what is said of the image is then said of each of its patches
            rows, cols = self.backbone.grid
            return [similarity, similarity.argmax(-1, keepdim=True).expand(-1, rows * cols)]
        highest, nearest = torch.zeros_like(features.image[:, :1]), torch.zeros_like(features.image[:, :1])
        for scores, embedding, windows in zip(s_window, features.windows, self.windows, strict=True):
            score, window = (scores[:, :, None] * windows.coverage).max(1)  # the most anomalous over each patch
            index = (embedding @ text.descriptors.T).argmax(-1).gather(1, window)
            nearest = torch.where(score >= highest, index, nearest)
            highest = torch.maximum(score, highest)
        return [similarity, nearest]


def _windows_of(method: Method, backbone: Backbone) -> list[Windows]:
    """The windows of each scale; nothing for `none`."""
    if method.windows == "none":
        return []
    stride = STRIDE if method.windows == "strided" else method.stride
    return [make_windows(backbone.grid, scale, stride).to(backbone.device) for scale in method.scales]


def _by_recipe(
    texts: Sequence[TextFeatures], indexes: Sequence[Index | None]
) -> list[tuple[TextFeatures, Index | None, list[int]]]:
    """The rows of a batch by the text features and the normal shots that they are judged by."""
    groups: dict[tuple[int, int], tuple[TextFeatures, Index | None, list[int]]] = {}
    for row, (text, index) in enumerate(zip(texts, indexes, strict=True)):
        groups.setdefault((id(text), id(index)), (text, index, []))[2].append(row)
    return list(groups.values())
