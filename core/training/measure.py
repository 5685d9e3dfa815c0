"""Measures a trained model on the simulated world: `python -m core.training.measure --folder FOLDER [--regime whole]`.

The lines are others than those of training: their seeds lie elsewhere. Three groups: classes that training never saw;
classes that it saw, with the defects that it saw; the same classes with defects that it never saw.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from core.adaptation import TextFeatures
from core.alfa import Alfa, Method
from core.backbone import CLIP_MEAN, CLIP_STD, Backbone, resolve_dtype, wrap_model
from core.bank.memory import distances, reference_map, remember
from core.clip import CLIP, SimpleTokenizer
from core.evaluate.metrics import PixelMetrics, image_metrics
from core.heatmap import to_frame
from core.image import Rgb
from core.models import architecture
from core.packs.pack import load_pack
from core.simline import Sample, defects_of, render
from core.training.split import (
    HELD_OUT_CLASSES,
    HELD_OUT_DEFECTS,
    TRAINED_CLASSES,
    trained_defects_of,
)
from core.traits import Traits
from core.vision import Features
from core.weights.file import load_tensors

_SEED = 77_000_000  # far from the lines of training
_BATCH = 4

TRAITS = Traits(adaptation=False, aligner="identity", memory_gain=16.0)
"""Of models trained here: by the table in the model's card, and by 4-shot figures of simulated lines."""


@dataclass(frozen=True)
class Figures:
    """Image AUROC, pixel AUROC and PRO of one class, each 0..1."""

    image: float
    pixel: float
    pro: float

    def __str__(self) -> str:
        return f"image AUROC {self.image:.3f}, pixel AUROC {self.pixel:.3f}, PRO {self.pro:.3f}"


def load_trained(path: Path) -> Backbone:
    """The running mean of the weights in a checkpoint of `core.training`."""
    model = CLIP(**architecture())
    state = load_tensors(path)
    model.load_state_dict(state["mean"])
    name = f"{path.stem}-step-{state['step']}"
    tokenize, device = SimpleTokenizer(context_length=77), torch.device("cpu")
    return wrap_model(name, model, tokenize, device, resolve_dtype("auto", device), CLIP_MEAN, CLIP_STD, traits=TRAITS)


def measure(
    scorers: Sequence[Alfa], name: str, defects: Sequence[str], lines: int, parts: int, shots: int
) -> list[Figures]:
    """Zero-shot, or with `shots` normal parts of the same line, over `parts` good and as many defective ones a line.

    `scorers` are ways to score with one model and the same windows; each has its figures.
    """
    alfa, pack = scorers[0], load_pack(name)
    texts = [one.embed(pack.prompts(one.method.llm_prompts)) for one in scorers]
    tallies = [Tally() for _ in scorers]
    for seed in lines_of(lines):
        known = [render(name, seed, 10_000 + index, 0.0).image for index in range(shots)]
        memory = remember(_features(alfa, known)) if shots else None
        for batch in batches(name, seed, defects, parts):
            features = _features(alfa, [one.image for one in batch])
            reference = None
            if memory is not None:
                found = distances(features, memory).nearest([range(shots)])
                reference = reference_map(found, alfa.windows)[:, 0]
            for tally, one, text in zip(tallies, scorers, texts, strict=True):
                scores, maps = judge(one, text, features, reference)
                for sample, score, patches in zip(batch, scores.tolist(), maps, strict=True):
                    tally.add(sample, score, patches.reshape(alfa.backbone.grid).numpy())
    return [tally.figures() for tally in tallies]


class Tally:
    """Scores and maps of parts, until all are there."""

    def __init__(self) -> None:
        self._scores: list[float] = []
        self._labels: list[bool] = []
        self._pixels = PixelMetrics()

    def add(self, sample: Sample, score: float, patch_map: NDArray[np.float32]) -> None:
        """One part: its score and its map, float32 [rows, cols] in [0, 1], of any grid."""
        self._scores.append(score)
        self._labels.append(bool(sample.defects))
        height, width = sample.mask.shape
        self._pixels.update(to_frame(patch_map, (height, width)), sample.mask > 0)

    def figures(self) -> Figures:
        """Of all parts so far; 0 where there is none of one label."""
        area, pro, _ = self._pixels.compute()
        image = image_metrics(np.array(self._scores), np.array(self._labels))[0]
        return Figures(image or 0.0, area or 0.0, pro or 0.0)


@torch.inference_mode()
def judge(alfa: Alfa, text: TextFeatures, features: Features, reference: Tensor | None) -> tuple[Tensor, Tensor]:
    """S [B] and the map [B, N] of B parts, by one way to score."""
    zero_shot = alfa.zero_shot(features, text)
    score, patches = alfa.fuse(zero_shot.s_global, zero_shot.s_local, reference)
    return score[:, 0], patches


@torch.inference_mode()
def _features(alfa: Alfa, frames: Sequence[Rgb]) -> Features:
    return alfa.vision(alfa.backbone.pixels(frames))


def lines_of(count: int) -> range:
    """The seeds of `count` lines that are for measuring."""
    return range(_SEED, _SEED + count)


def batches(name: str, seed: int, defects: Sequence[str], parts: int) -> Iterator[list[Sample]]:
    """`parts` good parts of a line and as many with defects, a few at a time."""
    samples = [render(name, seed, index, float(index % 2), defects) for index in range(2 * parts)]
    for start in range(0, len(samples), _BATCH):
        yield samples[start : start + _BATCH]


def groups() -> dict[str, list[tuple[str, tuple[str, ...]]]]:
    """Classes and the defects that they are measured with, by what training has seen of them."""
    return {
        "held-out classes": [(name, defects_of(name)) for name in HELD_OUT_CLASSES],
        "seen classes": [(name, trained_defects_of(name)) for name in TRAINED_CLASSES],
        "held-out defects": [
            (name, tuple(one for one in defects_of(name) if one in HELD_OUT_DEFECTS))
            for name in TRAINED_CLASSES
            if set(defects_of(name)) & set(HELD_OUT_DEFECTS)
        ],
    }


def average(found: Sequence[Figures]) -> Figures:
    """Over classes."""
    return Figures(*(float(np.mean([getattr(one, key) for one in found])) for key in ("image", "pixel", "pro")))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m core.training.measure", description=__doc__)
    parser.add_argument(
        "--folder", type=Path, required=True, help="where `python -m core.training` left its checkpoint"
    )
    parser.add_argument("--regime", choices=("windows", "whole"), default="windows")
    parser.add_argument("--lines", type=int, default=3, help="lines (designs) of each class")
    parser.add_argument("--parts", type=int, default=20, help="good, and as many defective, parts of each line")
    parser.add_argument("--shots", type=int, nargs="+", default=[0, 4])
    parser.add_argument("--aligner", nargs="+", default=["identity"])
    arguments = parser.parse_args()
    backbone = load_trained(arguments.folder / f"{arguments.regime}.pt")
    scorers = [Alfa(backbone, Method(aligner=one), patches=True) for one in arguments.aligner]
    for shots in arguments.shots:
        for group, classes in groups().items():
            rows = [measure(scorers, *one, arguments.lines, arguments.parts, shots) for one in classes]
            for aligner, found in zip(arguments.aligner, zip(*rows, strict=True), strict=True):
                _say(f"{backbone.name} {aligner} {shots}-shot {group}: {average(found)}")
                for (name, _), one in zip(classes, found, strict=True):
                    _say(f"    {name}: {one}")


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
