"""`speed` and `bundled`: what a picture costs, of the large model with random weights and of the bundled one."""

from __future__ import annotations

import torch
from torch.utils.flop_counter import FlopCounterMode

from core.alfa import Alfa, Method
from core.backbone import DTYPES, Backbone
from edge.tools.bench import bench
from tests.benchmarks.gpu.machine import peak_tflops
from tests.benchmarks.gpu.results import Results
from tests.benchmarks.gpu.scale import MODEL, TFLOP, Scale

SCALES = (2, 3)
_MOST_MS = {1: 6.0, 8: 2.5}  # a picture, of the large model
_MOST_GIB = 1.5


def run(results: Results, scale: Scale) -> None:
    """Times of every batch, against what the work would take at the peak of a matrix product."""
    name = "bundled" if results.step == "bundled" else scale.model
    backbone = scale.backbone(name, scale.device, scale.fast)
    counted = counted_tflop(backbone)
    tflop = TFLOP if name == MODEL else counted
    peak = peak_tflops(scale, DTYPES[scale.fast])
    floor_ms = tflop / peak * 1000
    results.add(
        "floor", model=name, dtype=scale.fast, tflop=tflop, counted_tflop=counted, peak_tflops=peak, ms=floor_ms
    )
    scale.tidy()
    for batch in scale.batches:
        _time(results, scale, backbone, batch, floor_ms, held=name != "bundled")
        scale.tidy()


def _time(results: Results, scale: Scale, backbone: Backbone, batch: int, floor_ms: float, *, held: bool) -> None:
    report = bench(Alfa(backbone, Method(scales=SCALES)), batch, scale.rounds_of(batch))
    total = report.stages["total"]
    peak = None if report.peak_device_mib is None else report.peak_device_mib / 1024
    results.add(
        f"batch {batch}",
        p50_ms=total.p50,
        p95_ms=total.p95,
        images_per_s=report.images_per_s,
        share_of_floor=floor_ms / total.p50,
        rounds=report.rounds,
        **({} if peak is None else {"peak_gib": peak}),
        **{f"{stage}_ms": one.p50 for stage, one in report.stages.items() if stage != "total"},
    )
    if held and batch in _MOST_MS:
        results.hold(f"ms a picture at batch {batch}", total.p50, most=_MOST_MS[batch])
    if held and batch == 8 and peak is not None:
        results.hold("peak GiB at batch 8", peak, most=_MOST_GIB)


def counted_tflop(backbone: Backbone) -> float:
    """The arithmetic of one picture's pass as it is, which leaves out what nothing reads."""
    vision = Alfa(backbone, Method(scales=SCALES)).vision
    rows, cols = backbone.visual.image_size
    with FlopCounterMode(display=False) as counter:
        vision(torch.zeros(1, 3, rows, cols, device=backbone.device))
    return counter.get_total_flops() / 1e12
