"""`anomalib`: its WinCLIP on the same device and the same random weights, in turn with ours.

`gpu.sh` puts the folder with anomalib, and with the open_clip that it is right with, before everything else for this
step alone; ours runs on that open_clip too.
"""

from __future__ import annotations

import copy
import importlib
import json
import statistics
import sys
import time
from collections.abc import Callable
from importlib.machinery import PathFinder
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType
from typing import Any

import torch

from core.alfa import ALFA, WINCLIP, Alfa
from core.backbone import CLIP_MEAN, CLIP_STD, Backbone, wrap_model
from core.clip import SimpleTokenizer, open_clip
from core.packs.compiled import compile_pack
from core.packs.pack import load_pack, winclip_prompts
from tests.benchmarks.gpu.pictures import random_photograph
from tests.benchmarks.gpu.results import Results
from tests.benchmarks.gpu.scale import Scale

PART = "commutator"
_TIMES = 10.0  # faster than anomalib, at batch 1


def run(results: Results, scale: Scale) -> None:
    """Times in turn, and how far scores are apart with ours as WinCLIP in float32."""
    major, minor = (int(one) for one in open_clip.version.__version__.split(".")[:2])
    torch_model = import_torch_model() if PathFinder.find_spec("anomalib") else None
    if torch_model is None:
        results.left_out("anomalib's WinCLIP", "anomalib is not installed; gpu-wheels.sh brings it")
        return
    if (major, minor) > (2, 26):
        results.failed(f"open_clip {open_clip.version.__version__}: anomalib 2.7.0 is not right with it")
        return
    theirs = build(torch_model, scale)
    _agree(results, scale, theirs)
    fast = backbone_of(theirs, scale, scale.fast)
    for batch in (1, 2) if scale.dry else (1, 8):
        scale.tidy()
        _race(results, scale, theirs, fast, batch)


def import_torch_model() -> Any:
    """anomalib's `winclip.torch_model` with the files that it needs and no others.

    The `__init__` files of its parent packages import all of anomalib, which needs some thirty packages more
    (lightning, kornia, FrEIA, ...), of which WinCLIP's model uses none. So the parents are put up as packages without
    their `__init__`, and the three names that the model takes from two of them come from the files that define them.
    Every line that is timed is anomalib's own.
    """
    for name in ("anomalib", "anomalib.data", "anomalib.models", "anomalib.models.components"):
        _bare_package(name)
    for name in ("anomalib.models.components.base", "anomalib.models.image", "anomalib.models.image.winclip"):
        _bare_package(name)
    components = sys.modules["anomalib.models.components"]
    for file, wanted in (("buffer_list", "BufferListMixin"), ("dynamic_buffer", "DynamicBufferMixin")):
        found = importlib.import_module(f"anomalib.models.components.base.{file}")
        setattr(components, wanted, getattr(found, wanted))
    data = importlib.import_module("anomalib.data.dataclasses.torch.base")
    sys.modules["anomalib.data"].InferenceBatch = data.InferenceBatch  # type: ignore[attr-defined]
    return importlib.import_module("anomalib.models.image.winclip.torch_model")


def _bare_package(name: str) -> None:
    """A package that is there and whose `__init__` has not run."""
    parent, _, last = name.rpartition(".")
    spec = PathFinder.find_spec(name, sys.modules[parent].__path__ if parent else None)
    if spec is None or spec.submodule_search_locations is None:
        raise ModuleNotFoundError(f"there is no package {name}")
    module = ModuleType(name)
    module.__path__ = list(spec.submodule_search_locations)
    sys.modules[name] = module
    if parent:
        setattr(sys.modules[parent], last, module)


def build(torch_model: Any, scale: Scale) -> torch.nn.Module:
    """Their model with seeded random weights on the device."""
    torch_model.PRETRAINED = None
    name = f"{scale.model}-short"
    with TemporaryDirectory() as folder:
        file = Path(folder) / f"{name}.json"
        file.write_text(json.dumps(scale.config))
        open_clip.add_model_config(file)
    torch_model.BACKBONE = name
    torch.manual_seed(0)
    model: torch.nn.Module = torch_model.WinClipModel(PART, scales=(2, 3)).eval()
    return model.to(scale.device)


def backbone_of(theirs: torch.nn.Module, scale: Scale, dtype: str) -> Backbone:
    """A copy of the CLIP in their model as our backbone."""
    clip: Any = copy.deepcopy(theirs.clip).cpu()
    tokenize = SimpleTokenizer(context_length=77)
    return wrap_model(scale.model, clip, tokenize, scale.device, dtype, CLIP_MEAN, CLIP_STD)


def _agree(results: Results, scale: Scale, theirs: torch.nn.Module) -> None:
    """Ours as WinCLIP in float32: that the two compute the same is what makes their times comparable."""
    alfa = Alfa(backbone_of(theirs, scale, "fp32"), WINCLIP)
    text = alfa.embed(winclip_prompts(PART))
    frames = [random_photograph(seed, 480, 480) for seed in range(2)]
    found = theirs(alfa.backbone.pixels(frames))
    ours = alfa.inspect(frames, [text] * len(frames))
    apart = max(abs(one.score - float(score)) for one, score in zip(ours, found.pred_score, strict=True))
    results.add("as WinCLIP, fp32", d_score=apart)
    if not apart <= 1e-3:
        results.failed(f"scores differ by {apart:.2g}")


def _race(results: Results, scale: Scale, theirs: torch.nn.Module, backbone: Backbone, batch: int) -> None:
    alfa = Alfa(backbone, ALFA)
    text = alfa.text(compile_pack(backbone, load_pack(PART)))
    alfa.warm_up(batch)
    frames = [random_photograph(seed, 480, 480) for seed in range(batch)]
    pixels = backbone.pixels(frames)
    rounds = max(scale.rounds // 2, 1)
    taken = in_turn(
        {"anomalib": lambda: theirs(pixels), "ours": lambda: alfa.inspect(frames, [text] * batch)}, rounds, scale
    )
    p50 = {name: statistics.median(times) * 1000 / batch for name, times in taken.items()}
    faster = statistics.median(a / b for a, b in zip(taken["anomalib"], taken["ours"], strict=True))
    results.add(
        f"batch {batch}", anomalib_fp32_ms=p50["anomalib"], **{f"ours_{scale.fast}_ms": p50["ours"]}, faster=faster
    )
    if batch == 1:
        results.hold("times faster than anomalib at batch 1", faster, least=_TIMES)


def in_turn(works: dict[str, Callable[[], object]], rounds: int, scale: Scale) -> dict[str, list[float]]:
    """Seconds of each work in each round, the device's work included, after three rounds that are not counted."""
    taken: dict[str, list[float]] = {name: [] for name in works}
    for round_ in range(-3, rounds):
        for name, work in works.items():
            scale.synchronize()
            began = time.perf_counter()
            work()
            scale.synchronize()
            if round_ >= 0:
                taken[name].append(time.perf_counter() - began)
    return taken
