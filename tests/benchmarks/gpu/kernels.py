"""`profile`: where the time of a pass goes: the longest kernels, and the gaps in which none of them runs."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import Any

from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

from core.alfa import Alfa
from core.packs.compiled import compile_pack
from core.packs.pack import load_pack
from core.simline import render
from tests.benchmarks.gpu.results import Results
from tests.benchmarks.gpu.scale import NO_CUDA, Scale

_PASSES = 5
_KERNELS = 10
_GAPS = 5


@dataclass(frozen=True)
class Span:
    """One kernel, or copy, on the device; microseconds."""

    name: str
    start: float
    end: float


def run(results: Results, scale: Scale) -> None:
    """The inspection of decoded frames, at batch 1 and 8, as a service does it."""
    if scale.dry:
        results.left_out("kernels; the CPU's operators instead", NO_CUDA)
    backbone = scale.backbone(scale.model, scale.device, scale.fast)
    compiled = compile_pack(backbone, load_pack("magnetic_tile"))
    for batch in (1, 2) if scale.dry else (1, 8):
        alfa = Alfa(backbone)
        text = alfa.text(compiled)
        alfa.warm_up(batch)
        frames = [render("tile", 1, index, 0.5, size=480).image for index in range(batch)]
        for _ in range(3):
            alfa.inspect(frames, [text] * batch)
        activities = [ProfilerActivity.CPU if scale.dry else ProfilerActivity.CUDA]
        scale.synchronize()
        with profile(activities=activities) as seen:
            for _ in range(_PASSES):
                alfa.inspect(frames, [text] * batch)
            scale.synchronize()
        _report(results, batch, _spans(seen.events(), scale))
        del alfa
        scale.tidy()


def _spans(events: Any, scale: Scale) -> list[Span]:
    """What ran on the device, in order of its start."""
    wanted = DeviceType.CPU if scale.dry else DeviceType.CUDA
    found = [
        Span(one.name, float(one.time_range.start), float(one.time_range.end))
        for one in events
        if one.device_type == wanted and not one.is_user_annotation and (not scale.dry or one.cpu_parent is None)
    ]
    return sorted(found, key=lambda one: one.start)


def _report(results: Results, batch: int, spans: list[Span]) -> None:
    if not spans:
        results.failed(f"batch {batch}: the profiler saw nothing on the device")
        return
    busy, gaps = gaps_of(spans)
    whole = max(one.end for one in spans) - spans[0].start
    images = _PASSES * batch
    results.add(
        f"batch {batch}",
        span_ms_a_picture=whole / 1000 / images,
        busy_ms_a_picture=busy / 1000 / images,
        idle_share=1 - busy / whole,
        launches_a_pass=len(spans) / _PASSES,
    )
    taken: dict[str, list[float]] = defaultdict(list)
    for one in spans:
        taken[one.name].append(one.end - one.start)
    longest = sorted(taken.items(), key=lambda item: -sum(item[1]))[:_KERNELS]
    for rank, (name, times) in enumerate(longest, 1):
        results.add(
            f"batch {batch} kernel {rank}",
            ms_a_picture=sum(times) / 1000 / images,
            share_of_busy=sum(times) / busy,
            calls_a_pass=len(times) / _PASSES,
            name=name[:160],
        )
    for rank, (width, before, after) in enumerate(gaps[:_GAPS], 1):
        results.add(f"batch {batch} gap {rank}", us=width, after=before[:80], before=after[:80])


def gaps_of(spans: list[Span]) -> tuple[float, list[tuple[float, str, str]]]:
    """The time in which something runs, and the gaps, longest first, with what ran before and after each."""
    busy, gaps = 0.0, []
    last, end = spans[0].name, spans[0].start
    for one in spans:
        if one.start > end:
            gaps.append((one.start - end, last, one.name))
        busy += max(one.end - max(one.start, end), 0.0)
        if one.end > end:
            last, end = one.name, one.end
    return busy, sorted(gaps, reverse=True)
