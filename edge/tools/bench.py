"""`alfa-edge bench`: where the time of a frame goes on this machine."""

from __future__ import annotations

import resource
from collections.abc import Callable
from typing import Any, TypeVar

import torch

from core.adaptation import TextFeatures
from core.alfa import Alfa
from core.bank.memory import Index, make_index, reference_map, remember, search
from core.filo.filo import Filo
from core.heatmap import to_frame
from core.image import Rgb, decode, encode_jpeg
from core.inspector import AnyInspector
from core.packs.compiled import compile_pack
from core.packs.pack import load_pack
from core.regions import find_regions
from core.simline import render
from edge.clock import monotonic
from edge.inspection.methods import model_part
from edge.messages import Milliseconds, Model, Wire

STAGES = ("decode", "preprocess", "encode", "adapt", "align", "aggregate", "regions")
T = TypeVar("T")


class Stage(Wire):
    """Milliseconds per image of one stage."""

    p50: Milliseconds
    p95: Milliseconds
    p99: Milliseconds


class BenchReport(Wire):
    """What `alfa-edge bench --json` prints. `total` is the whole inspection of a decoded batch, measured on its own."""

    model: Model
    batch: int
    rounds: int
    frame: tuple[int, int]
    stages: dict[str, Stage]
    images_per_s: float
    peak_host_mib: float
    peak_device_mib: float | None = None


class _Clock:
    """Collects how long things take per image of a batch, the device's work included."""

    def __init__(self, device: torch.device, batch: int) -> None:
        self.taken: dict[str, list[float]] = {}
        self._device = device
        self._batch = batch

    def time(self, stage: str, work: Callable[[], T]) -> T:
        """Runs `work` and notes its time under `stage`."""
        started = self._now()
        result = work()
        self.taken.setdefault(stage, []).append((self._now() - started) * 1000 / self._batch)
        return result

    def _now(self) -> float:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        return monotonic()


def bench(inspector: AnyInspector, batch: int, rounds: int) -> BenchReport:
    """Times `rounds` batches of simulated parts, 480 x 480, after a warm-up.

    Without windows ALFA compares the parts with one normal shot, as the stage `aggregate`. FiLo is timed as a whole.
    """
    pack = load_pack("magnetic_tile")
    text: Any
    if isinstance(inspector, Filo):
        text = inspector.texts(pack)
    else:
        assert isinstance(inspector, Alfa)
        text = inspector.text(compile_pack(inspector.backbone, pack))
    files = [encode_jpeg(render("tile", 1, index, 0.5, size=480).image) for index in range(batch)]
    device = inspector.backbone.device
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    inspector.warm_up(batch)
    frames = [decode(file) for file in files]
    indexes = [_one_shot(inspector) if isinstance(inspector, Alfa) and inspector.needs_shots else None] * batch
    inspector.inspect(frames, [text] * batch, indexes)
    clock = _Clock(device, batch)
    for _ in range(rounds):
        if isinstance(inspector, Alfa):
            _round(inspector, clock, files, text, indexes[0])
        clock.time("total", lambda: inspector.inspect(frames, [text] * batch, indexes))
    total = sorted(clock.taken["total"])
    return BenchReport(
        model=model_part(inspector),
        batch=batch,
        rounds=rounds,
        frame=(frames[0].shape[1], frames[0].shape[0]),
        stages={name: _stage(times) for name, times in clock.taken.items()},
        images_per_s=1000 / total[len(total) // 2],
        peak_host_mib=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        peak_device_mib=torch.cuda.max_memory_allocated(device) / 2**20 if device.type == "cuda" else None,
    )


def _one_shot(alfa: Alfa) -> Index:
    part: Rgb = render("tile", 1, 10_000, 0.0, size=480).image
    return make_index([remember(alfa.vision(alfa.backbone.pixels([part])))], alfa.backbone.device)


@torch.inference_mode()
def _round(alfa: Alfa, clock: _Clock, files: list[bytes], text: TextFeatures, index: Index | None) -> None:
    """One batch, stage by stage, each waited for."""
    frames = clock.time("decode", lambda: [decode(file) for file in files])
    pixels = clock.time("preprocess", lambda: alfa.backbone.pixels(frames))
    features = clock.time("encode", lambda: alfa.vision(pixels))
    labels = clock.time("adapt", lambda: alfa.adapt(features.image, text))
    s_global = alfa.abnormal(features.image, labels.embedding)[:, None]
    s_window = clock.time("align", lambda: alfa.window_scores(features, labels.embedding))

    def aggregate() -> torch.Tensor:
        reference = None if index is None else reference_map(search(features, index), alfa.windows)[:, 0]
        return alfa.fuse(s_global, alfa.aggregate(s_window, s_global), reference)[1]

    maps = clock.time("aggregate", aggregate).reshape(-1, *alfa.backbone.grid).cpu().numpy()
    sized = [(patch_map, (frame.shape[0], frame.shape[1])) for patch_map, frame in zip(maps, frames, strict=True)]
    clock.time(
        "regions",
        lambda: [find_regions(to_frame(patch_map, size), float(patch_map.mean())) for patch_map, size in sized],
    )


def _stage(times: list[float]) -> Stage:
    ordered = sorted(times)
    p50, p95, p99 = (ordered[min(int(share * len(ordered)), len(ordered) - 1)] for share in (0.50, 0.95, 0.99))
    return Stage(p50=p50, p95=p95, p99=p99)
