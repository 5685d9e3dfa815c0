"""`parity`: the GPU against the CPU, and captured graphs against the pass that they were captured from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from core.alfa import ALFA, Alfa, Inspection
from core.graph import GraphedPass
from core.image import Rgb
from core.packs.compiled import CompiledPack, compile_pack
from core.packs.pack import load_pack
from core.simline import render
from core.vision import Features, VisionPass
from tests.benchmarks.gpu.pictures import random_photograph
from tests.benchmarks.gpu.results import Results
from tests.benchmarks.gpu.scale import NO_CUDA, Scale

PACK = "magnetic_tile"
# Bounds of the largest differences from float32 on the CPU; beyond them something is wrong, not merely rounded.
_SCORES = {"fp32": 1e-3, "fp16": 5e-3, "bf16": 2e-2}


def run(results: Results, scale: Scale) -> None:
    """Scores, maps and kept prompts of the bundled and of the large model in each precision."""
    for name, count in ((scale.model, 4), ("bundled", 2 if scale.dry else 8)):  # on a CPU the large one takes its time
        frames = [random_photograph(seed, *size) for seed, size in zip(range(count), _sizes(), strict=False)]
        frames += [render("tile", 1, index, 0.5, size=480).image for index in range(count)]
        _compare(results, scale, name, frames)
        scale.tidy()


def _sizes() -> list[tuple[int, int]]:
    """Heights and widths on both sides of a model's input, square and not."""
    return [(700, 900), (480, 480), (1024, 1280), (240, 240), (200, 300), (900, 260), (260, 900), (1500, 1500)]


def _compare(results: Results, scale: Scale, name: str, frames: Sequence[Rgb]) -> None:
    method = replace(ALFA, adaptation=True)  # the bundled model keeps all prompts by itself
    backbone = scale.backbone(name, torch.device("cpu"), "fp32")
    compiled = compile_pack(backbone, load_pack(PACK))
    reference = Alfa(backbone, method)
    truth = _inspect(reference, compiled, frames)
    spread = [one.score for one in truth]
    results.add("reference", model=name, pictures=len(frames), least=min(spread), most=max(spread))
    for dtype in scale.dtypes(name):
        alfa = Alfa(scale.backbone(name, scale.device, dtype), method)
        eager = _inspect(alfa, compiled, frames)
        _report(results, name, f"{dtype} against the CPU's fp32", truth, eager, _SCORES[dtype])
        if dtype == "fp32":
            _pixels(results, name, reference, alfa, frames)
        _graphs(results, scale, name, dtype, alfa, frames[:4])
        del alfa
        scale.tidy()


def _inspect(alfa: Alfa, compiled: CompiledPack, frames: Sequence[Rgb]) -> list[Inspection]:
    """Inspections in batches of four."""
    text = alfa.text(compiled)
    batches = [frames[start : start + 4] for start in range(0, len(frames), 4)]
    return [one for batch in batches for one in alfa.inspect(batch, [text] * len(batch))]


def _report(
    results: Results, name: str, what: str, truth: Sequence[Inspection], found: Sequence[Inspection], most: float
) -> None:
    scores, maps, kept, prompts = [], [], 0, 0
    for a, b in zip(truth, found, strict=True):
        scores.append(abs(a.score - b.score))
        maps.append(float(np.abs(a.patch_map - b.patch_map).max()))
        for ours, theirs in ((a.kept_normal, b.kept_normal), (a.kept_abnormal, b.kept_abnormal)):
            kept += int((ours != theirs).sum())
            prompts += ours.size
    worst = max(scores)
    results.add(what, model=name, d_score=worst, d_map=max(maps), prompts=prompts, kept_otherwise=kept)
    if not worst <= most:  # nor where it is no number
        results.failed(f"{name}, {what}: scores differ by {worst:.2g}, more than {most:g}")


def _pixels(results: Results, name: str, here: Alfa, there: Alfa, frames: Sequence[Rgb]) -> None:
    """The preprocessing: by how many levels of 255 a value may differ."""
    levels = torch.tensor(here.backbone.pixels.std).view(1, 3, 1, 1) * 255
    worst, share = 0.0, []
    for frame in frames:
        apart = ((here.backbone.pixels([frame]) - there.backbone.pixels([frame]).cpu()) * levels).abs()
        worst = max(worst, float(apart.max()))
        share.append(float((apart > 0.5).float().mean()))
    results.add("preprocessing", model=name, most_levels=worst, share_that_differs=sum(share) / len(share))


def _graphs(results: Results, scale: Scale, name: str, dtype: str, alfa: Alfa, frames: Sequence[Rgb]) -> None:
    """What graphs for batches of up to `len(frames)` give, against the pass itself."""
    eager = alfa.vision
    assert isinstance(eager, VisionPass)
    if scale.dry:
        results.left_out(f"captured graphs of {name} in {dtype}; padded batches instead", NO_CUDA)
    graphed = _Padded(eager, len(frames)) if scale.dry else GraphedPass(eager, len(frames))
    worst = {"image": 0.0, "windows": 0.0, "values": 0.0}
    for batch in range(1, len(frames) + 1):
        pixels = alfa.backbone.pixels(frames[:batch])
        for key, apart in _apart(eager(pixels), graphed(pixels)).items():
            worst[key] = max(worst[key], apart)
    results.add("graphs against eager", model=name, dtype=dtype, **{f"d_{key}": one for key, one in worst.items()})


class _Padded:
    """A pass that fills each batch up, as graphs do."""

    def __init__(self, vision: VisionPass, batch: int) -> None:
        self._vision, self._batch = vision, batch

    def __call__(self, pixels: Tensor) -> Features:
        rest = pixels.new_zeros(self._batch - len(pixels), *pixels.shape[1:])
        return self._vision(torch.cat([pixels, rest])).take(slice(0, len(pixels)))


def _apart(ours: Features, theirs: Features) -> dict[str, float]:
    """The largest differences of what two passes saw."""
    return {
        "image": _most(ours.image, theirs.image),
        "windows": max(_most(a, b) for a, b in zip(ours.windows, theirs.windows, strict=True)),
        "values": max(_most(a.window, b.window) for a, b in zip(ours.values, theirs.values, strict=True)),
    }


def _most(ours: Tensor, theirs: Tensor) -> float:
    return float((ours.float() - theirs.float()).abs().max())
