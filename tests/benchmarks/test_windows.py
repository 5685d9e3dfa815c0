"""The ways to embed windows beside each other in one run: the same random weights, the same image, in turn.

Processor time, so that other work on the machine does not count, of a pass on one thread.
"""

import statistics
import time

import open_clip
import pytest
import torch

from core.backbone import cpu_has_bf16
from core.masked import MaskedPass
from core.vision import VisionPass
from core.windows import STRIDE, make_windows

MODEL = "ViT-B-16-plus-240"
GRID, SCALES = (15, 15), (2, 3)
ROUNDS = 5


@pytest.mark.timeout(900)
@pytest.mark.parametrize(("dtype", "strided", "masked"), [(torch.float32, 2.0, 3.0), (torch.bfloat16, 1.5, 2.0)])
def test_cpu(dtype: torch.dtype, strided: float, masked: float) -> None:
    """In bfloat16 the image stays in float32, a larger part of the work the fewer tokens the windows have."""
    if dtype == torch.bfloat16 and not cpu_has_bf16():
        pytest.skip("this processor has no bf16")
    torch.manual_seed(0)
    visual = open_clip.create_model(MODEL).visual.eval().requires_grad_(False)
    every, second = ([make_windows(GRID, scale, stride) for scale in SCALES] for stride in (1, STRIDE))
    passes = {
        "exact": VisionPass(visual, every, dtype=dtype, patches=True),
        "strided": VisionPass(visual, second, dtype=dtype, patches=True),
        "masked": MaskedPass(visual, every, dtype=dtype, patches=True),
        "none": VisionPass(visual, (), dtype=dtype, patches=True),
    }
    pixels = torch.randn(1, 3, *visual.image_size)
    taken: dict[str, list[float]] = {name: [] for name in passes}
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for round_ in range(ROUNDS + 1):
            for name, one in passes.items():
                started = time.process_time()
                one(pixels)
                if round_:
                    taken[name].append(time.process_time() - started)
    finally:
        torch.set_num_threads(threads)
    faster = {}
    for name, times in taken.items():
        faster[name] = statistics.median(a / b for a, b in zip(taken["exact"], times, strict=True))
        print(f"{dtype} {name}: median {statistics.median(times) * 1000:.0f} ms, {faster[name]:.2f} times as fast")
    assert faster["strided"] >= strided
    assert faster["masked"] >= masked
