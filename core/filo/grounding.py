"""Grounding DINO: boxes where a part looks as the pack's defects are described, to place prompts and to gate the map.

It is `transformers`' own implementation, of the extra `grounding`; the release's is its Swin-T, OGC configuration, on
the hub `IDEA-Research/grounding-dino-tiny`. Loading reads a folder or the hub's cache, and never downloads.

Two habits of the release are repeated in no mode. It compares scores that are cut to two decimals, so that the last of
nearly equal boxes is the best; and a box that reaches over the frame's upper or left border gates nothing.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from core.filo.positions import position_at
from core.filo.prompts import Wording
from core.fingerprint import refuse_not_finite
from core.image import Rgb
from core.model_error import ModelError, first_line
from core.remedy import extra

GROUNDING_DINO = "IDEA-Research/grounding-dino-tiny"
"""Repository on the hub of the Swin-T model."""
GENERAL = ("anomaly", "damage", "broken", "defect", "contamination")
"""What is asked for besides the pack's phrases."""
OUTSIDE = 0.7
"""What the map is multiplied by outside all boxes."""
_BOX, _TEXT = 0.25, 0.25  # scores above which a box, and a word of its phrase, are kept
_LARGEST = 0.7  # share of the image from which on a box says nothing
_SHORTEST, _LONGEST = 518, 1333  # sides of its input, pixels
_MOST_TOKENS = 256


@dataclass(frozen=True)
class Box:
    """A box that Grounding DINO found.

    Attributes:
        left, top, right, bottom: In shares of the frame's width and height, in [0, 1].
        score: In [0, 1].
        phrase: The words of the question that it answers; may be empty.
    """

    left: float
    top: float
    right: float
    bottom: float
    score: float
    phrase: str

    @property
    def centre(self) -> tuple[float, float]:
        """(x, y), in shares of the frame."""
        return (self.left + self.right) / 2, (self.top + self.bottom) / 2


class Grounding:
    """Grounding DINO on a device. Not for several threads at once.

    Args:
        model: `transformers.GroundingDinoForObjectDetection`.
        processor: Its `GroundingDinoProcessor`.
        device: Where it computes.
    """

    def __init__(self, model: Any, processor: Any, device: torch.device) -> None:
        self._model = model.eval().requires_grad_(False).to(device)
        self._processor = processor
        self._device = device
        most = getattr(model.config, "max_text_len", _MOST_TOKENS)
        self._most = min(int(most), _MOST_TOKENS)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256, hexadecimal, of its weights."""
        digest = hashlib.sha256()
        for name, value in sorted(self._model.state_dict().items()):
            digest.update(name.encode())
            digest.update(value.cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()

    def boxes(self, frame: Rgb, wording: Wording, *, released: bool = False) -> tuple[Box, ...]:
        """The boxes of a frame (uint8 [H, W, 3], RGB) whose phrase names what was asked for, best first."""
        found = [box for caption in self._captions(wording) for box in self._ask(frame, caption)]
        asked = (*wording.phrases, *GENERAL)
        counted = [box for box in found if names(box.phrase, asked, released=released)]
        return tuple(sorted(counted, key=lambda box: -box.score))

    def _captions(self, wording: Wording) -> Iterator[str]:
        """The question: all phrases together, or in parts, each of which the model reads to its end."""
        held: list[str] = []
        for phrase in dict.fromkeys(wording.phrases):
            if held and self._length(caption_of([*held, phrase])) > self._most:
                yield caption_of(held)
                held = []
            held.append(phrase)
        yield caption_of(held)

    def _length(self, caption: str) -> int:
        return len(self._processor.tokenizer(caption).input_ids)

    @torch.inference_mode()
    def _ask(self, frame: Rgb, caption: str) -> list[Box]:
        size = {"shortest_edge": _SHORTEST, "longest_edge": _LONGEST}
        given = {"images": frame, "input_data_format": "channels_last", "size": size}
        asked = {"text": caption, "truncation": True, "max_length": self._most}
        inputs = self._processor(**given, **asked, return_tensors="pt").to(self._device)
        outputs = self._model(**inputs)
        # Logits of words that nobody asked for are minus infinity; what comes next would drop a box that is no number.
        if bool(outputs.logits.isnan().any()) or not bool(outputs.pred_boxes.isfinite().all()):
            raise ModelError("Grounding DINO's boxes are no finite numbers; check the device, and fetch it again")
        read = self._processor.post_process_grounded_object_detection
        found = read(outputs, inputs["input_ids"], threshold=0.0, text_threshold=_TEXT)[0]
        boxes, scores, phrases = found["boxes"].clamp(0, 1).tolist(), found["scores"].tolist(), found["text_labels"]
        kept = []
        for row in keep(found["boxes"], found["scores"]):
            left, top, right, bottom = boxes[row]
            kept.append(Box(left, top, right, bottom, scores[row], phrases[row]))
        return kept


def require_extra() -> None:
    """Raises ModelError: the extra `grounding` is not installed."""
    try:
        from transformers import GroundingDinoForObjectDetection, GroundingDinoProcessor  # noqa: F401
    except ImportError as error:
        raise ModelError(f"Grounding DINO needs transformers ({first_line(error)}): {extra('grounding')}") from None


def require_weights(source: str) -> None:
    """Looks whether a folder or the hub's cache holds Grounding DINO, without reading it.

    Raises:
        ModelError: it does not, or the extra is not installed.
    """
    require_extra()
    from transformers.utils import cached_file

    name = _name_of(source)
    try:
        cached_file(name, "config.json", local_files_only=True)
    except (OSError, ValueError) as error:
        raise _not_loaded(name, error) from None


def load_grounding(source: str | Path = GROUNDING_DINO, device: torch.device | None = None) -> Grounding:
    """Grounding DINO from a folder, or of a repository that the hub's cache holds. Nothing is downloaded.

    Raises:
        ModelError: the extra is not installed, or the weights are not there, damaged, or of another model.
    """
    require_extra()
    from transformers import GroundingDinoForObjectDetection, GroundingDinoProcessor

    name = _name_of(source)
    try:
        processor = GroundingDinoProcessor.from_pretrained(name, local_files_only=True)
        model, report = GroundingDinoForObjectDetection.from_pretrained(
            name, local_files_only=True, use_safetensors=True, output_loading_info=True
        )
    except Exception as error:  # of the hub's client, of configurations, of weights: each library has its own
        raise _not_loaded(name, error) from None
    if missing := sorted(report["missing_keys"]):
        raise ModelError(
            f"Grounding DINO {name} lacks {len(missing)} of its weights, {missing[0]} first; fetch it again"
        )
    refuse_not_finite(model, f"Grounding DINO {name}")
    return Grounding(model, processor, device or torch.device("cpu"))


def _name_of(source: str | Path) -> str:
    folder = Path(source).expanduser()
    return str(folder) if folder.is_dir() else str(source)


def _not_loaded(name: str, error: Exception) -> ModelError:
    return ModelError(
        f"Grounding DINO {name} cannot be loaded: {first_line(error)}; name a folder that holds it, or fetch it "
        f"where there is a network into the cache of its hub: hf download {GROUNDING_DINO}"
    )


def caption_of(phrases: Sequence[str]) -> str:
    """What the model is asked, in its own form: lower case, a full stop behind each."""
    return f"{' . '.join((*GENERAL, *phrases))}".lower().strip() + "."


def keep(boxes: Tensor, scores: Tensor) -> list[int]:
    """The rows of boxes [Q, 4] (left, top, right, bottom, in shares) that are kept: all that are sure and small.

    Where that leaves none, the one of the highest score is kept, however large.
    """
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    rows = ((scores > _BOX) & (area < _LARGEST)).nonzero().flatten().tolist()
    return rows or [int(scores.argmax())]


def names(phrase: str, asked: Sequence[str], *, released: bool = False) -> bool:
    """Whether a box's phrase names something of what was asked for.

    It does when it is a part of an entry, or holds one, by whole words. In the release only a phrase that holds an
    entry does, letter by letter: those with a capital never, as the question is in lower case.
    """
    if released:
        return any(entry in phrase for entry in asked)
    said = _words(phrase)
    return bool(said.strip()) and any(said in entry or entry in said for entry in map(_words, asked))


def _words(text: str) -> str:
    """Words in lower case, a space around each; how a tokenizer sets its marks does not matter."""
    words = re.findall(r"[^\W_]+", text.lower())
    return f" {' '.join(words)} "


def place(boxes: Sequence[Box], *, released: bool = False) -> int | None:
    """The position of the best box's centre, without one of the frame's; None: all nine (`position_at`)."""
    x, y = max(boxes, key=lambda box: box.score).centre if boxes else (0.5, 0.5)
    return position_at(x, y, released=released)


def gate(s_map: Tensor, boxes: Sequence[Box]) -> Tensor:
    """The map [H, W], multiplied by `OUTSIDE` where no box is."""
    height, width = s_map.shape
    factor = torch.full_like(s_map, OUTSIDE)
    for box in boxes:
        rows = slice(int(box.top * height), int(box.bottom * height))
        factor[rows, int(box.left * width) : int(box.right * width)] = 1.0
    return s_map * factor
