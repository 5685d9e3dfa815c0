"""FiLo: frames to inspections, with the name and the place of a defect."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal, TypeAlias

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from core.backbone import BUNDLED, DTYPES, Backbone
from core.bank.memory import Index, Memory
from core.bank.tiled_index import AnyIndex, by_tile
from core.explain import Likeness
from core.filo.grounding import Box, Grounding, gate, place
from core.filo.head import FiloHead, activation_of, shape_of
from core.filo.labels import Prompts
from core.filo.maps import anomaly_map, image_score, layer_maps
from core.filo.positions import POSITIONS, position_at
from core.filo.prompts import released_packs, wording_of
from core.filo.text import FiloTexts, TextEncoder
from core.filo.vision import Streams, TwoStreamPass
from core.heatmap import to_frame
from core.identity import refuse_other_texts
from core.image import Rgb
from core.inspection import Inspection, merge, refuse_faults
from core.inspector import Inspector
from core.method import ALFA, Method
from core.model_error import ModelError
from core.packs.pack import PromptPack
from core.picture import check_frames
from core.rows import check_rows
from core.tiles import WHOLE, Tiling
from core.towers import Tower
from core.vision import Features

Gate: TypeAlias = Literal["suspects", "all"]


@dataclass(frozen=True, eq=False)
class FiloInspection(Inspection):
    """What FiLo says of one frame: as ALFA's, and where it looked.

    `likeness` compares the pack's phrases (`FiloTexts.phrases`). `kept_abnormal` are the prompts of the position.

    Attributes:
        position: The position whose prompts made the abnormal label, of `POSITIONS`; None: all nine.
        boxes: Where Grounding DINO saw something, the best first, and outside of which the map is lowered; None: it was
            not asked, and the position is that of the map's own peak.
    """

    position: str | None = None
    boxes: tuple[Box, ...] | None = None

    @property
    def looked_again(self) -> bool:
        """Whether Grounding DINO was asked."""
        return self.boxes is not None


@dataclass(frozen=True, eq=False)
class _Shots:
    """The feature maps of one frame, [1, R, C, d] of each kind, and the normal shots that they are compared with."""

    maps: tuple[Tensor, ...]
    index: Index


@dataclass(frozen=True, eq=False)
class _View:
    """One frame of a batch, as the pass sees it.

    Attributes:
        frame: uint8 [H, W, 3], RGB.
        decoded: Unit tokens [1, N, d] of each decoder.
        adapted: The adapted image embedding [1, d], unit length.
        shift: The embedding [1, d] that shifts the contexts.
        texts: What is said of the part.
        shots: What it is compared with; None: with nothing.
    """

    frame: Rgb
    decoded: list[Tensor]
    adapted: Tensor
    shift: Tensor
    texts: FiloTexts
    shots: _Shots | None


class Filo(Inspector[FiloTexts]):
    """FiLo on one model. Not for several threads at once.

    Args:
        backbone: The model.
        head: What was trained on it; goes to its device.
        grounding: Grounding DINO, to place prompts and to gate the map; None: without.
        gate: What Grounding DINO is asked about: `all` frames, or `suspects`, whose score without it reaches their
            threshold. What is no suspect is no anomaly, so that a threshold that was calibrated without it holds.
        method: How parts are compared with normal shots: its `memory_layers`. FiLo takes evidence only.
        tower: A second model whose feature maps normal shots are compared in, on the same device.

    Raises:
        ModelError: the head belongs to another model.
        UnsupportedModelError: FiLo cannot run the model.
    """

    name = "filo"

    def __init__(
        self,
        backbone: Backbone,
        head: FiloHead,
        *,
        grounding: Grounding | None = None,
        gate: Gate = "all",
        method: Method = ALFA,
        tower: Tower | None = None,
    ) -> None:
        check_fits(head, backbone)
        if method.few_shot != "evidence":
            raise ValueError(f"few_shot {method.few_shot!r} averages windows, which FiLo has not; use evidence")
        super().__init__(backbone, method, tower)
        self.grounding = grounding
        self.gate = gate
        self.head = head.to(backbone.device)
        self.released = head.record.released
        layers, start = head.record.layers, head.record.start
        self.vision = TwoStreamPass(
            backbone.visual, layers, start, dtype=DTYPES[backbone.dtype], released=self.released
        )
        self.encoder = TextEncoder(backbone.text, backbone.device, head.record.context)

    @cached_property
    def basis(self) -> str:
        """As `Inspector.basis`; scores of suspects are compared with their threshold before the gate is asked."""
        gate = f" gate {self.grounding.fingerprint}" if self.grounding is not None and self.gate == "all" else ""
        return f"{super().basis} filo {self.head.fingerprint}{gate}"

    @property
    def remark(self) -> str:
        """What of the method is left out, in words; empty where nothing is."""
        return "" if self.grounding else "without Grounding DINO: positions are those of the map's peak, and no gate"

    def ids(self, pack: PromptPack) -> tuple[Tensor, Tensor]:
        """The tokens of a pack's normal and abnormal sentences. Uses no device; any thread may ask for them."""
        wording = wording_of(pack)
        return self.encoder.ids(wording.normal), self.encoder.ids(wording.abnormal)

    def texts(self, pack: PromptPack, ids: tuple[Tensor, Tensor] | None = None) -> FiloTexts:
        """What a pack says, as far as it can be made before an image is seen; `ids` saves their time."""
        return self.encoder.texts(wording_of(pack), self.backbone.fingerprint, ids)

    def texts_of(self, packs: Sequence[PromptPack]) -> list[FiloTexts]:
        """What each of several packs says; in the released mode of those with one noun the last (`released_packs`)."""
        made: dict[int, FiloTexts] = {}
        chosen = released_packs(packs) if self.released else list(packs)
        for pack in chosen:
            if id(pack) not in made:
                made[id(pack)] = self.texts(pack)
        return [made[id(pack)] for pack in chosen]

    @property
    def weights(self) -> str:
        """As `Inspector.weights`, the head's own among them."""
        return f"{super().weights} or the FiLo head {self.head.fingerprint[:12]}"

    @property
    def keeps_text_half(self) -> bool:
        """Prompts depend on the frame."""
        return True

    def texts_sha256(self, pack: PromptPack) -> str:
        """As `Inspector.texts_sha256`: of the sentences on normal states and on the pack's `[defects]`."""
        return wording_of(pack).sha256

    @torch.inference_mode()
    def patches(self, frame: Rgb) -> Tensor:
        """As `Inspector.patches`."""
        tokens = self.vision(self.backbone.pixels([frame])).ordinary[-1][0]
        return F.normalize(tokens, dim=-1).float().cpu().reshape(*self.backbone.grid, -1)

    @torch.inference_mode()
    def remember(self, frame: Rgb, shape: tuple[int, int] | None = None, tiling: Tiling = WHOLE) -> Memory:
        """As `Inspector.remember`, without windows."""
        check_frames([frame])
        tiles, shape = tiling.cut(frame), tiling.tile_size(shape or (frame.shape[0], frame.shape[1]))
        patches = self.vision(self.backbone.pixels(tiles)).ordinary[-1]
        return self._indexer.remember(Features(patches[:, 0], (), (), F.normalize(patches, dim=-1)), tiles, shape)

    def text_scores(self, frame: Rgb, text: FiloTexts) -> tuple[float, float]:
        """As `Inspector.text_scores`."""
        inspection = self.inspect([frame], [text])[0]
        return inspection.global_score, inspection.local_score

    def warm_up(self, batch: int) -> None:
        """As `Inspector.warm_up`."""
        black = np.zeros((64, 64, 3), np.uint8)
        with torch.inference_mode():
            self.decode(self.vision(self.backbone.pixels([black] * batch)))

    def adapted(self, image: Tensor) -> Tensor:
        """The adapted image embedding, unit length, of f(x) [B, d]."""
        return F.normalize(self.head.adapter(image), dim=-1)

    def shifting(self, image: Tensor, adapted: Tensor) -> Tensor:
        """The embedding [B, d] that the contexts are shifted by: as in training, the image's own.

        The release has its contexts trained with that, and scores with the adapted one.
        """
        return adapted if self.released else F.normalize(image, dim=-1)

    def prompts(self, shift: Tensor, texts: FiloTexts, position: int | None = None) -> Prompts:
        """The prompts of images that shift the contexts by `shift` [B, d]; at all nine positions, or at one."""
        abnormal, places = texts.abnormal, len(POSITIONS)
        if position is not None:
            rows = torch.arange(position, len(abnormal.ends), len(POSITIONS), device=abnormal.ends.device)
            abnormal, places = abnormal.take(rows), 1
        contexts = zip(self.head.normal_prompt_learner(shift), self.head.abnormal_prompt_learner(shift), strict=True)
        pairs = [(self.encoder(plus, texts.normal), self.encoder(minus, abnormal)) for plus, minus in contexts]
        return Prompts(
            torch.stack([plus for plus, _ in pairs]),
            torch.stack([minus.view(-1, places, minus.shape[-1]) for _, minus in pairs]),
        )

    def decode(self, streams: Streams) -> list[Tensor]:
        """Unit tokens [B, N, d] of each decoder: the linear ones of all layers, then the convolutions'."""
        decoded = self.head.decoder_linear(streams.ordinary)
        decoded += self.head.decoder_cov(streams.values, self.backbone.grid)
        return [F.normalize(tokens, dim=-1) for tokens in decoded]

    def layer_maps(self, decoded: Sequence[Tensor], labels: Tensor) -> list[Tensor]:
        """The map of each decoder at the model's input size, [B, 2, H, W], for labels [B, 2, d]."""
        size, scale = self.backbone.pixels.size, self.head.record.scale
        return layer_maps(decoded, labels, self.backbone.grid, size, scale, released=self.released)

    def inspect(
        self,
        frames: Sequence[Rgb],
        texts: Sequence[FiloTexts],
        indexes: Sequence[AnyIndex | None] | None = None,
        tilings: Sequence[Tiling] | None = None,
        *,
        thresholds: Sequence[float] | None = None,
    ) -> list[FiloInspection]:
        """Inspects frames (uint8 [H, W, 3], RGB, of any sizes), each by its own texts, in one pass.

        Args:
            frames: B frames.
            texts: Of each frame.
            indexes: Of each frame its normal shots, or None. With shots the score is what they and both parts of
                FiLo's have the say for (`core.bank.evidence`), and the map the mean of both maps.
            tilings: As of `Inspector.inspect`. Position and boxes of a frame are those of its most anomalous tile.
            thresholds: With the gate `suspects`, of each frame the score from which on Grounding DINO is asked about
                it. Default: about none.

        Raises:
            ValueError: a frame is something else, there are not as many of each, or an index is not of evidence.
            NotFiniteError: what the model says of a frame is no number.
            TilingError: as of `Inspector.inspect`.
            OtherIdentityError: a text or an index was made by another model, or for other feature maps.
        """
        check_frames(frames)
        check_rows(len(frames), texts, indexes, tilings=tilings, kind=FiloTexts)
        if thresholds is not None and len(thresholds) != len(frames):
            raise ValueError(f"{len(frames)} frames and {len(thresholds)} thresholds; give as many, one for each frame")
        indexes = indexes or [None] * len(frames)
        tilings = tilings or [WHOLE if index is None else index.tiling for index in indexes]
        rows = [
            (tile, text, of_tile, threshold)
            for frame, text, index, tiling, threshold in zip(
                frames, texts, indexes, tilings, thresholds or [math.inf] * len(frames), strict=True
            )
            for tile, of_tile in zip(tiling.cut(frame), by_tile(index, tiling), strict=True)
        ]
        rows_found = iter(self._inspect_rows(rows))
        found = [
            merge([next(rows_found) for _ in range(tiling.count)], tiling, (frame.shape[0], frame.shape[1]))
            for frame, tiling in zip(frames, tilings, strict=True)
        ]
        refuse_faults(found)
        return found

    @torch.inference_mode()
    def _inspect_rows(self, rows: Sequence[tuple[Rgb, FiloTexts, Index | None, float]]) -> list[FiloInspection]:
        frames, texts, indexes, _ = zip(*rows, strict=True)
        refuse_other_texts(texts, self.backbone.fingerprint)
        self._indexer.refuse_others(indexes)
        streams = self.vision(self.backbone.pixels(frames))
        decoded = self.decode(streams)
        adapted = self.adapted(streams.image)
        shift = self.shifting(streams.image, adapted)
        maps = self._indexer.maps_of(indexes, frames)
        found = []
        for row, (frame, text, index, threshold) in enumerate(rows):
            tokens = [one[row : row + 1] for one in decoded]
            shots = None if index is None else _Shots(maps[row], index)
            view = _View(frame, tokens, adapted[row : row + 1], shift[row : row + 1], text, shots)
            found.append(self._judge(view, threshold))
        return found

    def _beside(self, shots: _Shots | None, inspection: FiloInspection) -> FiloInspection:
        """An inspection without normal shots, with the say of those."""
        if shots is None:
            return inspection
        evidence = shots.index.evidence
        if evidence is None:
            raise ValueError("these normal shots are of few_shot = alfa; FiLo takes them as evidence")
        heard = torch.tensor([[inspection.global_score, inspection.local_score]], device=self.backbone.device)
        score, shot_map = evidence.judge(shots.maps, heard)
        height, width = inspection.patch_map.shape
        s_map = inspection.patch_map + to_frame(shot_map[0].cpu().numpy(), (height, width))
        return replace(
            inspection, score=float(score[0]), patch_map=s_map / np.float32(2), memory_score=float(shot_map.max())
        )

    def _judge(self, view: _View, threshold: float) -> FiloInspection:
        everywhere = None
        if self.grounding is None or self.gate == "suspects":
            everywhere = self.prompts(view.shift, view.texts)
            own = self._own_position(anomaly_map(self.layer_maps(view.decoded, everywhere.labels)))
            inspection = self._score(view, everywhere if own is None else everywhere.at(own), own, None)
            if self.grounding is None or inspection.score < threshold:
                return inspection
        boxes = self.grounding.boxes(view.frame, view.texts.wording, released=self.released)
        position = place(boxes, released=self.released)
        if everywhere is None:
            prompts = self.prompts(view.shift, view.texts, position)
        else:
            prompts = everywhere if position is None else everywhere.at(position)
        return self._score(view, prompts, position, boxes)

    def _score(
        self, view: _View, prompts: Prompts, position: int | None, boxes: tuple[Box, ...] | None
    ) -> FiloInspection:
        labels = prompts.labels
        s_map = anomaly_map(self.layer_maps(view.decoded, labels))
        score, similarity = image_score(view.adapted, labels, s_map)
        patch_map = s_map[0] if boxes is None else gate(s_map[0], boxes)
        inspection = FiloInspection(
            score=_unit(float(score)),
            global_score=_unit(float(similarity)),
            local_score=_unit(float(s_map.max())),
            patch_map=patch_map.clamp(0, 1).cpu().numpy(),
            size=(view.frame.shape[0], view.frame.shape[1]),
            kept_normal=np.ones(len(view.texts.normal.ends), bool),
            kept_abnormal=_kept(len(view.texts.abnormal.ends), position),
            likeness=self._likeness(view, prompts),
            position=None if position is None else POSITIONS[position],
            boxes=boxes,
        )
        return self._beside(view.shots, inspection)

    def _own_position(self, s_map: Tensor) -> int | None:
        """The position of the map's [1, H, W] largest value."""
        height, width = s_map.shape[1:]
        row, col = divmod(int(s_map.argmax()), width)
        return position_at((col + 0.5) / width, (row + 0.5) / height)

    def _likeness(self, view: _View, prompts: Prompts) -> Likeness | None:
        count = len(view.texts.phrases)
        if not count:
            return None
        states = prompts.states[0, :count]
        nearest = (torch.stack(view.decoded).mean(0)[0] @ states.T).argmax(-1)
        return Likeness((view.adapted[0] @ states.T).cpu().numpy(), nearest.view(self.backbone.grid).cpu().numpy())


def check_fits(head: FiloHead, backbone: Backbone) -> None:
    """Raises ModelError: the head belongs to another model than this one."""
    record = head.record
    where = f"the FiLo head of {record.model}"
    asked = BUNDLED if record.model.startswith(BUNDLED) else record.model  # which names its version, too
    found, wanted = shape_of(backbone), (record.depth, record.width, record.joint, record.text_width)
    if found != wanted:
        names = ("blocks", "dimensions a token", "joint dimensions", "dimensions a text token")
        name, here, there = next(facts for facts in zip(names, found, wanted, strict=True) if facts[1] != facts[2])
        raise ModelError(f"{where} is for {there} {name}, {backbone.name} has {here}; name the model {asked}")
    if (activation := activation_of(backbone)) != record.activation:
        raise ModelError(
            f"{where} was trained with {record.activation}, {backbone.name} computes with {activation}: load the same "
            f"weights with {record.activation}"
        )
    if backbone.pixels.size != record.image_size:
        size, own = (f"{high} x {wide}" for high, wide in (record.image_size, backbone.pixels.size))
        raise ModelError(f"{where} is for pictures of {size}, {backbone.name} takes {own}: load it for {size}")
    if record.fingerprint not in (None, backbone.fingerprint):
        raise ModelError(
            f"{where} was trained on other weights of it ({record.fingerprint[:12]}, not {backbone.fingerprint[:12]}); "
            "train a head on these, or load those"
        )


def _kept(count: int, position: int | None) -> NDArray[np.bool_]:
    places = np.arange(count) % len(POSITIONS)
    return places >= 0 if position is None else places == position


def _unit(value: float) -> float:
    """A cosine may be below 0, and rounding leave [0, 1]; what is no number stays so, as it has to be refused."""
    return min(max(value, 0.0), 1.0) if np.isfinite(value) else value
