"""Measures the bundled model and writes the figures into its card: `python -m core.training.card`.

With `--photographs FOLDER`, classes of real photographs in the layout of MVTec AD are measured too; with `--other FILE`
the parts of the method also on a second model of the same shape, trained in another way.
"""

from __future__ import annotations

import argparse
import platform
import tempfile
from collections.abc import Iterator, Sequence
from datetime import datetime, timezone
from pathlib import Path

import torch

from core import models
from core.alfa import Alfa, Method
from core.backbone import BUNDLED, CLIP_MEAN, CLIP_STD, Backbone, load_backbone, resolve_dtype, wrap_model
from core.clip import CLIP, SimpleTokenizer
from core.evaluate.cache import FeatureCache
from core.evaluate.datasets import find_classes
from core.evaluate.evaluator import ClassEvaluator
from core.evaluate.plan import Plan, Variant
from core.evaluate.result import ClassResult, over_seeds
from core.models import architecture
from core.packs.pack import list_packs, load_pack
from core.training.measure import Figures, average, groups, load_trained, measure

_BEGIN, _END = "<!-- figures: made by `python -m core.training.card` -->", "<!-- end of figures -->"
_SHOTS = (0, 4)
_SEEDS = 3
_BATCH = 4
_METHODS = {
    "identity, contextual score": Method(aligner="identity", adaptation=True),
    "minimal, contextual score": Method(aligner="minimal", adaptation=True),
    "minimal-mean, contextual score": Method(aligner="minimal-mean", adaptation=True),
    "ridge, contextual score": Method(aligner="ridge", adaptation=True),
    "identity, weighted contextual score": Method(aligner="identity", adaptation=True, weighted=True),
    "identity, all prompts": Method(aligner="identity", adaptation=False),
    "identity, template's prompts only": Method(aligner="identity", adaptation=True, llm_prompts=False),
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m core.training.card", description=__doc__)
    parser.add_argument("--photographs", type=Path, help="folder of classes in MVTec AD's layout")
    parser.add_argument("--other", type=Path, help="a checkpoint of `python -m core.training --regime whole`")
    parser.add_argument("--lines", type=int, default=3, help="simulated lines (designs) of each class")
    parser.add_argument("--parts", type=int, default=10, help="good, and as many defective, parts of each line")
    arguments = parser.parse_args()
    bundled = load_backbone(BUNDLED, None)
    compared = [bundled, *([load_trained(arguments.other)] if arguments.other else [])]
    lines = [
        _BEGIN,
        "",
        f"Model `{bundled.name}`, fingerprint `{bundled.fingerprint[:16]}`, {bundled.dtype} on {platform.machine()}, "
        f"torch {torch.__version__}, {datetime.now(timezone.utc):%Y-%m-%d}.",
        "",
        *_simulated(bundled, arguments.lines, arguments.parts),
        *(_photographs([bundled, _untrained()], arguments.photographs) if arguments.photographs else ()),
        *_methods(compared, arguments.photographs, arguments.lines, arguments.parts),
        _END,
    ]
    card = Path(next(iter(models.__path__))) / "CARD.md"
    before, rest = card.read_text("utf-8").split(_BEGIN)
    card.write_text(before + "\n".join(lines) + rest.split(_END)[1], "utf-8")


def _simulated(backbone: Backbone, lines: int, parts: int) -> Iterator[str]:
    parts_said = f"{parts} good and {parts} defective parts each"
    yield f"Simulated lines that training never saw: {lines} a class, {parts_said}; with shots by the paper's way."
    yield from ("", "| | shots | image AUROC | pixel AUROC | PRO |", "| --- | --- | --- | --- | --- |")
    alfa = Alfa(backbone, patches=True)
    worst: list[str] = []
    for shots in _SHOTS:
        for group, classes in groups().items():
            found = {name: measure([alfa], name, defects, lines, parts, shots)[0] for name, defects in classes}
            yield f"| {group} | {shots} | {_cells(average(list(found.values())))} |"
            if group == "seen classes":
                least = sorted(found, key=lambda name: found[name].image)[:4]
                worst.append(f"{shots}-shot " + ", ".join(f"{name} {found[name].image:.3f}" for name in least))
    yield from ("", f"The hardest seen classes by image AUROC: {'; '.join(worst)}.", "")


def _photographs(backbones: Sequence[Backbone], root: Path) -> Iterator[str]:
    yield f"Real photographs, of which nothing was used in training; few-shot is the mean of {_SEEDS} draws."
    yield from (
        "",
        "| class | model | shots | image AUROC | pixel AUROC | PRO |",
        "| --- | --- | --- | --- | --- | --- |",
    )
    for backbone in backbones:
        for result in _evaluate(backbone, root, (Variant("alfa", Method()),), _SHOTS):
            for shots in _SHOTS:
                yield f"| {result.name} | {backbone.name} | {shots} | {_row(result, 'alfa', shots)} |"
    yield ""


def _methods(backbones: Sequence[Backbone], root: Path | None, lines: int, parts: int) -> Iterator[str]:
    yield "The method's parts, zero-shot: image AUROC / pixel AUROC on the held-out classes"
    yield "and on the photographs." if root else "."
    held_out = groups()["held-out classes"]
    columns: list[str] = []
    rows: dict[str, list[str]] = {name: [] for name in _METHODS}
    for backbone in backbones:
        scorers = [Alfa(backbone, method) for method in _METHODS.values()]
        found = [measure(scorers, *one, lines, parts, 0) for one in held_out]
        columns.append(f"{backbone.name}: held-out classes")
        for name, figures in zip(_METHODS, zip(*found, strict=True), strict=True):
            mean = average(list(figures))
            rows[name].append(f"{mean.image:.3f} / {mean.pixel:.3f}")
        variants = tuple(Variant(name, method) for name, method in _METHODS.items())
        for result in _evaluate(backbone, root, variants, (0,)) if root else ():
            columns.append(f"{backbone.name}: {result.name}")
            for name in _METHODS:
                image, pixel, _ = _row(result, name, 0).split(" | ")
                rows[name].append(f"{image} / {pixel}")
    yield from ("", f"| aligner, prompts | {' | '.join(columns)} |", f"|{' --- |' * (1 + len(columns))}")
    yield from (f"| {name} | {' | '.join(cells)} |" for name, cells in rows.items())
    yield ""


def _evaluate(
    backbone: Backbone, root: Path, variants: tuple[Variant, ...], shots: tuple[int, ...]
) -> Iterator[ClassResult]:
    alfa = Alfa(backbone, variants[0].method, patches=True)
    plan = Plan(variants, shots, _SEEDS, backbone.pixels.size)
    with tempfile.TemporaryDirectory() as folder:
        aligners = [one.method.aligner for one in variants]
        cache = FeatureCache(Path(folder), alfa, aligners, _BATCH, lambda _count, _fresh: None)
        evaluator = ClassEvaluator(alfa, cache, plan, lambda: None)
        for data in find_classes(root, None):
            pack = load_pack(data.name if data.name in list_packs() else "generic")
            yield evaluator.evaluate(data, pack, root)


def _untrained() -> Backbone:
    """Random weights in the bundled model's shape."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = CLIP(**architecture())
    device = torch.device("cpu")
    tokenize, dtype = SimpleTokenizer(context_length=77), resolve_dtype("auto", device)
    return wrap_model("the same shape, untrained", model, tokenize, device, dtype, CLIP_MEAN, CLIP_STD)


def _cells(found: Figures) -> str:
    return f"{found.image:.3f} | {found.pixel:.3f} | {found.pro:.3f}"


def _row(result: ClassResult, variant: str, shots: int) -> str:
    found = (over_seeds(result, variant, shots, metric) for metric in ("auroc", "pauroc", "pro"))
    return " | ".join("-" if one is None else f"{one.mean:.3f}" for one in found)


if __name__ == "__main__":
    main()
