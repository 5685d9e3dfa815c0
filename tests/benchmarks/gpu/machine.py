"""`device`: what it runs on, and how fast that can multiply at best."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import time
from importlib.metadata import version

import cv2
import numpy as np
import torch

from core.clip import open_clip
from tests.benchmarks.gpu.results import Results
from tests.benchmarks.gpu.scale import NO_CUDA, Scale

_WARM_UPS = 3
_PRODUCTS = 10


def run(results: Results, scale: Scale) -> None:
    """Device, driver, versions, the peak of a large matrix product."""
    results.add(
        "host",
        cpus=len(os.sched_getaffinity(0)),
        python=platform.python_version(),
        torch=torch.__version__,
        cuda=str(torch.version.cuda),
        numpy=np.__version__,
        opencv=cv2.__version__,
        open_clip=open_clip.version.__version__,
        pydantic=version("pydantic"),
    )
    if scale.dry:
        results.left_out("device and driver", NO_CUDA)
    else:
        found = torch.cuda.get_device_properties(scale.device)
        results.add(
            "device",
            name=found.name,
            driver=_driver(),
            memory_gib=found.total_memory / 2**30,
            processors=found.multi_processor_count,
            capability=f"{found.major}.{found.minor}",
            cudnn=str(torch.backends.cudnn.version()),
        )
    for dtype in (torch.float32,) if scale.dry else (torch.float16, torch.bfloat16, torch.float32):
        results.add("matrix product", dtype=str(dtype).removeprefix("torch."), tflops=peak_tflops(scale, dtype))


def peak_tflops(scale: Scale, dtype: torch.dtype) -> float:
    """What a large square matrix product reaches, in TFLOP/s."""
    side = 256 if scale.dry else 8192
    left, right = (torch.randn(side, side, device=scale.device).to(dtype) for _ in range(2))
    for _ in range(_WARM_UPS):
        left @ right
    scale.synchronize()
    began = time.perf_counter()
    for _ in range(_PRODUCTS):
        left @ right
    scale.synchronize()
    return 2 * side**3 * _PRODUCTS / (time.perf_counter() - began) / 1e12


def _driver() -> str:
    if shutil.which("nvidia-smi") is None:
        return "unknown: there is no nvidia-smi"
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    asked = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    return asked.stdout.strip().splitlines()[0] if asked.stdout.strip() else "unknown: nvidia-smi says nothing"
