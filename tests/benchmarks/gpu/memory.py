"""`memory`: what is said when a batch does not fit, on a device whose memory is nearly full."""

from __future__ import annotations

from unittest import mock

import torch

from core.alfa import Alfa
from core.graph import BatchTooLargeError, GraphedPass
from core.vision import VisionPass
from tests.benchmarks.gpu.results import Results
from tests.benchmarks.gpu.scale import NO_CUDA, Scale

_BATCH = 256
_LEFT_GIB = 2.0  # what the rest of the device's memory leaves to the batch


def run(results: Results, scale: Scale) -> None:
    """Asks for an absurd batch, then for the one that is said to fit."""
    alfa = Alfa(scale.backbone(scale.model, scale.device, scale.fast))
    vision = alfa.vision
    assert isinstance(vision, VisionPass)
    if scale.dry:
        results.left_out("a device that is full; one is simulated", NO_CUDA)
        with mock.patch.object(GraphedPass, "_capture", _full_beyond_four):
            _ask(results, vision)
        return
    free, _ = torch.cuda.mem_get_info(scale.device)
    ballast = torch.empty(max(int(free - _LEFT_GIB * 2**30), 0), dtype=torch.uint8, device=scale.device)
    fits = _ask(results, vision)
    held, _ = torch.cuda.mem_get_info(scale.device)
    results.add("after it", ballast_gib=ballast.numel() / 2**30, free_gib=held / 2**30)
    if fits:
        GraphedPass(vision, fits)
        results.add("the batch that is said to fit does", batch=fits)


def _ask(results: Results, vision: VisionPass) -> int:
    try:
        GraphedPass(vision, _BATCH)
    except BatchTooLargeError as error:
        results.add("message", says=str(error), fits=error.fits)
        return error.fits
    results.failed(f"a batch of {_BATCH} fits into {_LEFT_GIB} GiB")
    return 0


def _full_beyond_four(_graphs: GraphedPass, size: int, _device: torch.device) -> object:
    if size > 4:
        raise torch.cuda.OutOfMemoryError("simulated")
    return object()
