"""Ours beside anomalib's WinCLIP in one run: the same random weights, the same image, in turn."""

import statistics
import subprocess
import sys
import time
from collections.abc import Callable

import numpy as np
import pytest
import torch

from core.alfa import ALFA, WINCLIP, Alfa, Method
from core.backbone import Backbone
from core.packs.compiled import compile_pack
from core.packs.pack import load_pack, winclip_prompts
from tests.benchmarks.conftest import backbone_of

ROUNDS = 9
FRAME = np.random.default_rng(0).integers(0, 256, (240, 240, 3), dtype=np.uint8)


def in_turn(works: dict[str, Callable[[], object]], rounds: int = ROUNDS) -> dict[str, list[float]]:
    """Seconds of each work in each round, after one that is not counted."""
    taken: dict[str, list[float]] = {name: [] for name in works}
    for round_ in range(rounds + 1):
        for name, work in works.items():
            started = time.perf_counter()
            work()
            if round_:
                taken[name].append(time.perf_counter() - started)
    for name, times in taken.items():
        print(f"{name}: median {statistics.median(times) * 1000:.1f} ms, least {min(times) * 1000:.1f} ms")
    return taken


def ratio(taken: dict[str, list[float]], slow: str, fast: str) -> float:
    """The median over the rounds of how many times faster `fast` was."""
    found = statistics.median(a / b for a, b in zip(taken[slow], taken[fast], strict=True))
    print(f"{slow} / {fast}: {found:.3f}")
    return found


def inspection(backbone: Backbone, method: Method) -> Callable[[], object]:
    alfa = Alfa(backbone, method)
    if method == WINCLIP:
        text = alfa.embed(winclip_prompts("commutator"))
    else:
        pack = load_pack("commutator")
        text = alfa.text(compile_pack(alfa.backbone, pack))
    alfa.warm_up(1)
    pixels = alfa.backbone.pixels([FRAME])
    return lambda: alfa.inspect_pixels(pixels, [text], [(240, 240)])


@pytest.mark.timeout(900)
def test_cpu(anomalib_model: torch.nn.Module, fp32: Backbone, bf16: Backbone) -> None:
    pixels = fp32.pixels([FRAME])
    taken = in_turn(
        {
            "anomalib fp32": lambda: anomalib_model(pixels),
            "winclip fp32": inspection(fp32, WINCLIP),
            "alfa fp32": inspection(fp32, ALFA),
            "winclip bf16": inspection(bf16, WINCLIP),
            "alfa bf16": inspection(bf16, ALFA),
        }
    )
    assert ratio(taken, "anomalib fp32", "winclip fp32") >= 1.05
    assert ratio(taken, "anomalib fp32", "winclip bf16") >= 2.3
    assert ratio(taken, "alfa fp32", "winclip fp32") <= 1.05
    assert ratio(taken, "alfa bf16", "winclip bf16") <= 1.05


OURS = """
import open_clip, torch
from core.alfa import ALFA, Alfa
from core.backbone import CLIP_MEAN, CLIP_STD, wrap_model
from core.packs.pack import load_pack
def build():
    clip = open_clip.create_model("ViT-B-16-plus-240")
    tokenize = open_clip.get_tokenizer("ViT-B-16-plus-240")
    alfa = Alfa(wrap_model("x", clip, tokenize, torch.device("cpu"), "DTYPE", CLIP_MEAN, CLIP_STD), ALFA)
    text = alfa.embed(load_pack("commutator").prompts())
    return lambda pixels: alfa.inspect_pixels(pixels, [text], [(240, 240)])
"""
THEIRS = """
import torch
from anomalib.models.image.winclip import torch_model
torch_model.PRETRAINED = None
def build():
    return torch_model.WinClipModel("commutator", scales=(2, 3)).eval()
"""
MEASURE = """
def peak():  # not getrusage's: that begins with what the parent had
    status = open("/proc/self/status").read()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024
base = peak()
work = build()
for _ in range(3):
    work(torch.zeros(1, 3, 240, 240))
print(peak() - base)
"""


@pytest.mark.timeout(600)
def test_peak_memory_beside_anomalibs() -> None:
    """MiB that a process takes above its imports, from building the model to the third image."""
    codes = {
        "anomalib fp32": THEIRS,
        "alfa fp32": OURS.replace("DTYPE", "fp32"),
        "alfa bf16": OURS.replace("DTYPE", "bf16"),
    }
    peak = {}
    for name, code in codes.items():
        run = subprocess.run([sys.executable, "-c", code + MEASURE], capture_output=True, text=True, check=True)
        peak[name] = float(run.stdout.split()[-1])
        print(f"{name}: {peak[name]:.0f} MiB")
    assert peak["alfa fp32"] <= peak["anomalib fp32"]
    assert peak["alfa bf16"] <= peak["anomalib fp32"]


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device here")
@pytest.mark.timeout(900)
@pytest.mark.parametrize(("batch", "most_ms"), [(1, 6.0), (8, 2.5)])
def test_cuda(anomalib_model: torch.nn.Module, batch: int, most_ms: float) -> None:
    """The bounds are for an H200."""
    alfa = Alfa(backbone_of(anomalib_model, "fp16", "cuda"))
    pack = load_pack("commutator")
    text = alfa.text(compile_pack(alfa.backbone, pack))
    torch.cuda.reset_peak_memory_stats()
    alfa.warm_up(batch)
    frames = [FRAME] * batch
    theirs = anomalib_model.to("cuda")
    pixels = alfa.backbone.pixels(frames)

    def anomalib() -> None:
        theirs(pixels)
        torch.cuda.synchronize()

    taken = in_turn({"anomalib": anomalib, "alfa": lambda: alfa.inspect(frames, [text] * batch)}, 50)
    peak = torch.cuda.max_memory_allocated() / 2**30
    p50 = statistics.median(taken["alfa"]) * 1000 / batch
    print(f"batch {batch}: {p50:.2f} ms per image, peak {peak:.2f} GiB")
    if batch == 1:
        assert ratio(taken, "anomalib", "alfa") >= 10
    assert p50 <= most_ms
