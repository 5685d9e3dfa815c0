"""ALFA: frames to inspections, in the order of section 4 of the paper (Zhu et al., ACM MM 2024).

4.1 are the prompts (`packs`), 4.2 is `adaptation`, 4.3 `windows`, `vision`, `aligner` and, with normal shots, `bank`.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from core.adaptation import Labels, TextFeatures, adapt, keep_all
from core.aligner import ALIGNERS, Values
from core.backbone import DTYPES, Backbone
from core.bank.memory import Index, Memory, reference_map, search
from core.bank.tiled_index import AnyIndex, by_tile
from core.graph import GraphedPass
from core.identity import refuse_other_texts
from core.image import Rgb
from core.inspection import Inspection as Inspection
from core.inspection import merge, refuse_faults, rows_alike, to_host
from core.inspector import Inspector
from core.likeness import compare
from core.masked import MaskedPass
from core.method import ALFA as ALFA
from core.method import AUTO as AUTO
from core.method import WINCLIP as WINCLIP
from core.method import Method as Method
from core.packs.compiled import CompiledPack
from core.packs.pack import TEMPLATE_PROMPTS, Prompts
from core.picture import check_frames
from core.rows import check_rows
from core.tiles import WHOLE, Tiling
from core.towers import Tower
from core.vision import Features, VisionPass, lift
from core.windows import harmonic, windows_of

_NO_SHOTS = "windows = none needs normal shots: without windows the map comes from them alone"


@dataclass(frozen=True, eq=False)
class ZeroShot:
    """What the text says of B images, without normal shots; scores in [0, 1].

    Attributes:
        labels: F_TG, and the prompts kept for each image.
        s_global: S_G [B, 1] (Eq. 10).
        s_window: S_L [B, W] of each scale (Eq. 11).
        s_local: S~_L [B, rows * cols]; None without windows.
    """

    labels: Labels
    s_global: Tensor
    s_window: list[Tensor]
    s_local: Tensor | None

    @property
    def scores(self) -> Tensor:
        """S_G and, with windows, the largest S~_L: [B, 1] or [B, 2]."""
        if self.s_local is None:
            return self.s_global
        return torch.cat([self.s_global, self.s_local.amax(-1, keepdim=True)], 1)


class Alfa(Inspector[TextFeatures]):
    """ALFA on one model. Not for several threads at once."""

    name = "alfa"

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
        super().__init__(backbone, method, tower)
        self.windows = [
            tables.to(backbone.device)
            for tables in windows_of(method.windows, backbone.grid, method.scales, method.stride)
        ]
        one_pass = MaskedPass if method.windows == "masked" else VisionPass
        self.vision: Callable[[Tensor], Features] = one_pass(
            backbone.visual, self.windows, dtype=DTYPES[backbone.dtype], patches=patches
        )

    def _choose(self, method: Method) -> None:
        super()._choose(method)
        self._aligner = ALIGNERS[self.method.aligner]

    def with_method(self, method: Method) -> Alfa:
        """The same pass judged by another method, which must have the same windows."""
        asked, here = ((each.scales, each.stride, each.windows) for each in (method, self.method))
        if asked != here:
            raise ValueError(f"scales {method.scales} at stride {method.stride}, {method.windows}, are other windows")
        other = copy.copy(self)
        other._choose(method)
        return other

    @property
    def needs_shots(self) -> bool:
        """Without windows the map is that of normal shots."""
        return self.method.windows == "none"

    def warm_up(self, batch: int) -> None:
        """As `Inspector.warm_up`: the first pass allocates, and CUDA captures graphs."""
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
        device, fingerprint = self.backbone.device, self.backbone.fingerprint
        return TextFeatures(normal.to(device), abnormal.to(device), fingerprint=fingerprint)

    @torch.inference_mode()
    def patches(self, frame: Rgb) -> Tensor:
        """As `Inspector.patches`; this needs the argument `patches`."""
        tokens = self.vision(self.backbone.pixels([frame])).patches
        if tokens is None:
            raise ValueError("the pass gives no patch tokens; make Alfa with patches = True")
        return tokens[0].float().cpu().reshape(*self.backbone.grid, -1)

    @torch.inference_mode()
    def remember(self, frame: Rgb, shape: tuple[int, int] | None = None, tiling: Tiling = WHOLE) -> Memory:
        """As `Inspector.remember`."""
        check_frames([frame])
        tiles, shape = tiling.cut(frame), tiling.tile_size(shape or (frame.shape[0], frame.shape[1]))
        return self._indexer.remember(self.vision(self.backbone.pixels(tiles)), tiles, shape)

    @torch.inference_mode()
    def text_scores(self, frame: Rgb, text: TextFeatures) -> tuple[float, float]:
        """S_G and the largest S~_L of one frame, zero-shot, each in [0, 1]; without windows S_G twice."""
        scores = self.zero_shot(self.vision(self.backbone.pixels([frame])), text).scores[0].tolist()
        return scores[0], scores[-1]

    def inspect(
        self,
        frames: Sequence[Rgb],
        texts: Sequence[TextFeatures],
        indexes: Sequence[AnyIndex | None] | None = None,
        tilings: Sequence[Tiling] | None = None,
        *,
        thresholds: Sequence[float] | None = None,
    ) -> list[Inspection]:
        """As `Inspector.inspect`; an index needs `patches`, and without windows a frame needs an index.

        ALFA looks once, whatever the `thresholds`.
        """
        check_frames(frames)
        check_rows(len(frames), texts, indexes, tilings=tilings)
        indexes = indexes or [None] * len(frames)
        tilings = tilings or [WHOLE if index is None else index.tiling for index in indexes]
        rows = [
            (tile, text, of_tile)
            for frame, text, index, tiling in zip(frames, texts, indexes, tilings, strict=True)
            for tile, of_tile in zip(tiling.cut(frame), by_tile(index, tiling), strict=True)
        ]
        tiles, row_texts, row_indexes = zip(*rows, strict=True)
        sizes = [(tile.shape[0], tile.shape[1]) for tile in tiles]
        rows_found = iter(self._inspect_rows(self.backbone.pixels(tiles), row_texts, sizes, row_indexes, tiles))
        found = [
            merge([next(rows_found) for _ in range(tiling.count)], tiling, (frame.shape[0], frame.shape[1]))
            for frame, tiling in zip(frames, tilings, strict=True)
        ]
        refuse_faults(found)
        return found

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

        Raises:
            ValueError: as `inspect`, or there are no frames where they are needed.
        """
        check_rows(len(pixels), texts, indexes, sizes=sizes, frames=frames)
        found = self._inspect_rows(pixels, texts, sizes, indexes or [None] * len(texts), frames)
        refuse_faults(found)
        return found

    @torch.inference_mode()
    def _inspect_rows(
        self,
        pixels: Tensor,
        texts: Sequence[TextFeatures],
        sizes: Sequence[tuple[int, int]],
        indexes: Sequence[Index | None],
        frames: Sequence[Rgb],
    ) -> list[Inspection]:
        self._refuse_others(texts, indexes)
        features = self.vision(pixels)
        inspections: dict[int, Inspection] = {}
        maps = self._indexer.maps_of(indexes, frames)
        for rows in rows_alike(texts, indexes):
            text, index = texts[rows[0]], indexes[rows[0]]
            part = features if len(rows) == len(texts) else features.take(rows)
            compared = [torch.cat(kind) for kind in zip(*(maps[row] for row in rows), strict=True)]
            judged = self._judge(part, compared, text, index, [sizes[row] for row in rows])
            inspections.update(zip(rows, judged, strict=True))
        return [inspections[row] for row in range(len(texts))]

    def _refuse_others(self, texts: Sequence[TextFeatures], indexes: Sequence[Index | None]) -> None:
        refuse_other_texts(texts, self.backbone.fingerprint)
        self._indexer.refuse_others(indexes)

    def _judge(
        self,
        features: Features,
        maps: Sequence[Tensor],
        text: TextFeatures,
        index: Index | None,
        sizes: Sequence[tuple[int, int]],
    ) -> list[Inspection]:
        zero_shot = self.zero_shot(features, text)
        s_global, s_local = zero_shot.s_global, zero_shot.s_local
        grid = self.backbone.grid
        if index is not None and index.evidence is not None:
            image_score, fused = index.evidence.judge(maps, zero_shot.scores)
            grid = (fused.shape[1], fused.shape[2])
            score, s_map = image_score[:, None], fused.flatten(1)
            reference: Tensor | None = s_map
        else:
            reference = None if index is None else reference_map(search(features, index), self.windows)[:, 0]
            score, s_map = self.fuse(s_global, s_local, reference)  # Eq. 12
        local = s_map if s_local is None else s_local
        parts = [local] if reference is None else [local, reference]
        scores = torch.cat([score, s_global, *(part.amax(-1, keepdim=True) for part in parts)], 1)
        likeness = compare(features, zero_shot.s_window, self.windows, text, self.backbone.grid)  # section 5
        return to_host(scores, s_map, zero_shot.labels, likeness, (grid, self.backbone.grid), sizes)

    def zero_shot(self, features: Features, text: TextFeatures) -> ZeroShot:
        """4.2 and 4.3: the scores that the text alone gives the images of `features`."""
        labels = self.adapt(features.image, text)  # 4.2: F_TG
        s_global = self.abnormal(features.image, labels.embedding)[:, None]  # Eq. 10
        s_window = self.window_scores(features, labels.embedding)  # 4.3, Eq. 11
        return ZeroShot(labels, s_global, s_window, self.aggregate(s_window, s_global))

    def adapt(self, image: Tensor, text: TextFeatures) -> Labels:
        """4.2, Alg. 1: the label embeddings F_TG of images f(x) [B, d]."""
        if not self.method.adaptation:
            return keep_all(len(image), text)
        return adapt(image, text, weighted=self.method.weighted)

    def window_scores(self, features: Features, f_tg: Tensor) -> list[Tensor]:
        """4.3: S_L [B, W] of the windows of each scale, by labels F_TG [B, 2, d] moved to each window (Eq. 11)."""
        return [
            self.abnormal(embedding, self._moved(f_tg, values))
            for embedding, values in zip(features.windows, features.values, strict=True)
        ]

    def _moved(self, f_tg: Tensor, values: Values) -> Tensor:
        """F_TL [B, W, 2, d]: labels F_TG [B, 2, d] moved to each window by the values that the aligner compares."""
        compared = values.of(self._aligner.tokens)
        image, window = (lift(self.backbone.visual, each) for each in (compared.image, compared.window))
        return self._aligner.move(f_tg, Values(image, window, compared.index))

    def aggregate(self, s_window: Sequence[Tensor], s_global: Tensor) -> Tensor | None:
        """S~_L [B, rows * cols] from the window scores of each scale; None without windows."""
        if not self.windows:
            return None
        return harmonic(s_window, self.windows, s_global if self.method.image_in_map else None)

    def fuse(self, s_global: Tensor, s_local: Tensor | None, reference: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """S [..., 1] and the map [..., N] of S_G [..., 1], S~_L [..., N] and, few-shot, the reference map (Eq. 12).

        The reference map, times `memory_gain`, is averaged with S~_L, and the image score takes its maximum. Without
        `local_in_image`, as in WinCLIP, the image score is S_G alone, or few-shot its mean with the maximum of the
        reference map. Without windows (`s_local` is None) the map is the reference map alone.

        Raises:
            ValueError: there is neither S~_L nor a reference map.
        """
        gain = self.method.memory_gain or 1.0  # which `Method.on` has filled in
        reference = None if reference is None else (reference * gain).clamp(max=1)
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
