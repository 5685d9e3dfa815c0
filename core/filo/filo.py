"""FiLo: frames to inspections, with the name and the place of a defect."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from core.backbone import DTYPES, Backbone
from core.explain import Likeness
from core.filo.head import FiloHead, activation_of, shape_of
from core.filo.labels import Prompts
from core.filo.maps import anomaly_map, image_score, layer_maps
from core.filo.positions import POSITIONS, position_at
from core.filo.prompts import wording_of
from core.filo.text import FiloTexts, TextEncoder
from core.filo.vision import Streams, TwoStreamPass
from core.image import Rgb
from core.inspection import Inspection
from core.model_error import ModelError
from core.packs.pack import PromptPack


@dataclass(frozen=True, eq=False)
class FiloInspection(Inspection):
    """What FiLo says of one frame: as ALFA's, and where it looked.

    `likeness` compares the pack's phrases (`FiloTexts.phrases`). `kept_abnormal` are the prompts of the position.

    Attributes:
        position: The position whose prompts made the abnormal label, of `POSITIONS`; None: all nine.
    """

    position: str | None = None


class Filo:
    """FiLo on one model. Not for several threads at once.

    Args:
        backbone: The model.
        head: What was trained on it; goes to its device.

    Raises:
        ModelError: the head belongs to another model.
        UnsupportedModelError: FiLo cannot run the model.
    """

    def __init__(self, backbone: Backbone, head: FiloHead) -> None:
        check_fits(head, backbone)
        self.backbone = backbone
        self.head = head.to(backbone.device)
        self.released = head.record.released
        self.vision = TwoStreamPass(
            backbone.visual, head.record.layers, dtype=DTYPES[backbone.dtype], released=self.released
        )
        self.encoder = TextEncoder(backbone.text, backbone.device, head.record.context)

    def texts(self, pack: PromptPack) -> FiloTexts:
        """What a pack says, as far as it can be made before an image is seen."""
        return self.encoder.texts(wording_of(pack))

    def warm_up(self, batch: int) -> None:
        """Readies the device for batches of 1 to `batch` frames."""
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
        return layer_maps(decoded, labels, self.backbone.grid, self.backbone.pixels.size)

    @torch.inference_mode()
    def inspect(
        self, frames: Sequence[Rgb], texts: Sequence[FiloTexts], indexes: Sequence[object | None] | None = None
    ) -> list[FiloInspection]:
        """Inspects frames (uint8 [H, W, 3], RGB, of any sizes), each by its own texts, in one pass."""
        streams = self.vision(self.backbone.pixels(frames))
        decoded = self.decode(streams)
        adapted = self.adapted(streams.image)
        shift = self.shifting(streams.image, adapted)
        return [
            self._judge(
                [tokens[row : row + 1] for tokens in decoded],
                adapted[row : row + 1],
                shift[row : row + 1],
                texts[row],
                (frame.shape[0], frame.shape[1]),
            )
            for row, frame in enumerate(frames)
        ]

    def _judge(
        self, decoded: list[Tensor], adapted: Tensor, shift: Tensor, texts: FiloTexts, size: tuple[int, int]
    ) -> FiloInspection:
        everywhere = self.prompts(shift, texts)
        position = self._own_position(anomaly_map(self.layer_maps(decoded, everywhere.labels)))
        prompts = everywhere if position is None else everywhere.at(position)
        labels = prompts.labels
        s_map = anomaly_map(self.layer_maps(decoded, labels))
        score, similarity = image_score(adapted, labels, s_map)
        return FiloInspection(
            score=_unit(float(score)),
            global_score=_unit(float(similarity)),
            local_score=_unit(float(s_map.max())),
            patch_map=s_map[0].clamp(0, 1).cpu().numpy(),
            size=size,
            kept_normal=np.ones(len(texts.normal.ends), bool),
            kept_abnormal=_kept(len(texts.abnormal.ends), position),
            likeness=self._likeness(decoded, adapted, prompts, len(texts.phrases)),
            position=None if position is None else POSITIONS[position],
        )

    def _own_position(self, s_map: Tensor) -> int | None:
        """The position of the map's [1, H, W] largest value."""
        height, width = s_map.shape[1:]
        row, col = divmod(int(s_map.argmax()), width)
        return position_at((col + 0.5) / width, (row + 0.5) / height)

    def _likeness(self, decoded: list[Tensor], adapted: Tensor, prompts: Prompts, phrases: int) -> Likeness | None:
        if not phrases:
            return None
        states = prompts.states[0, :phrases]
        nearest = (torch.stack(decoded).mean(0)[0] @ states.T).argmax(-1)
        return Likeness((adapted[0] @ states.T).cpu().numpy(), nearest.view(self.backbone.grid).cpu().numpy())


def check_fits(head: FiloHead, backbone: Backbone) -> None:
    """Raises ModelError: the head belongs to another model than this one."""
    record = head.record
    where = f"the FiLo head of {record.model}"
    found, wanted = shape_of(backbone), (record.depth, record.width, record.joint, record.text_width)
    if found != wanted:
        names = ("blocks", "dimensions a token", "joint dimensions", "dimensions a text token")
        name, here, there = next(facts for facts in zip(names, found, wanted, strict=True) if facts[1] != facts[2])
        raise ModelError(f"{where} is for {there} {name}, {backbone.name} has {here}; name the model {record.model}")
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
