"""How good a head is beside ALFA and WinCLIP on the same tower, zero-shot, on what its training never saw."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch

from core.alfa import ALFA, WINCLIP, Alfa
from core.evaluate.cache import FeatureCache
from core.evaluate.datasets import DataClass
from core.evaluate.evaluator import ClassEvaluator
from core.evaluate.filo_scores import FiloScores
from core.evaluate.plan import Plan, Variant
from core.explain import describe
from core.filo.filo import Filo, FiloInspection
from core.filo.text import FiloTexts
from core.packs.pack import PromptPack, list_packs, load_pack, winclip_prompts
from core.training.measure import Figures, Tally, batches, judge, lines_of
from core.training.measure import average as average

METHODS = ("filo", "alfa", "winclip")
_BATCH = 4
_VARIANTS = (
    Variant("alfa", ALFA),
    Variant("winclip", WINCLIP, winclip_prompts=True),
    Variant("filo", ALFA, filo=True),
)


@dataclass
class Naming:
    """How often the top description is of the defect that is there, of parts with one kind, which the pack describes.

    Attributes:
        parts: How many there were.
        by_image: Named right by the whole image.
        by_patch: Named right by the patch under the map's peak.
        chance: What drawing a description blindly would name right, on average.
    """

    parts: int = 0
    by_image: int = 0
    by_patch: int = 0
    chance: float = 0.0

    def add(self, found: FiloInspection, kinds: Sequence[str], defects: Sequence[str]) -> None:
        """One part; `kinds` are those of the pack's phrases, `defects` those that are there."""
        if len(defects) != 1 or defects[0] not in kinds or found.likeness is None:
            return
        self.parts += 1
        self.by_image += kinds[int(found.likeness.image.argmax())] == defects[0]
        self.by_patch += describe(found.likeness, kinds, (found.peak.x, found.peak.y), found.size) == defects[0]
        self.chance += kinds.count(defects[0]) / len(kinds)

    def __add__(self, other: Naming) -> Naming:
        return Naming(*(getattr(self, key) + getattr(other, key) for key in vars(self)))


@dataclass(frozen=True)
class Measured:
    """One class.

    Attributes:
        name: Of the class.
        pictures: How many.
        figures: By method, one of `METHODS`.
        naming: Of no parts where the defects' kinds are not those of the pack.
    """

    name: str
    pictures: int
    figures: dict[str, Figures]
    naming: Naming = field(default_factory=Naming)


@torch.inference_mode()
def on_simline(filo: Filo, name: str, defects: Sequence[str], lines: int, parts: int) -> Measured:
    """A class on simulated lines that are for measuring: `parts` good and as many defective ones of each."""
    pack, naming, tallies = load_pack(name), Naming(), {method: Tally() for method in METHODS}
    texts, alfa = filo.texts(pack), Alfa(filo.backbone, ALFA)
    others = {"alfa": (alfa, alfa.embed(pack.prompts()))}
    others["winclip"] = (alfa.with_method(WINCLIP), alfa.with_method(WINCLIP).embed(winclip_prompts(pack.class_name)))
    for seed in lines_of(lines):
        for batch in batches(name, seed, defects, parts):
            frames = [sample.image for sample in batch]
            for sample, found in zip(batch, filo.inspect(frames, [texts] * len(frames)), strict=True):
                tallies["filo"].add(sample, found.score, found.patch_map)
                naming.add(found, kinds_of(texts), sample.defects)
            features = alfa.vision(alfa.backbone.pixels(frames))
            for method, (scorer, text) in others.items():
                scores, maps = judge(scorer, text, features, None)
                for sample, score, patches in zip(batch, scores.tolist(), maps, strict=True):
                    tallies[method].add(sample, score, patches.reshape(alfa.backbone.grid).numpy())
    return Measured(name, 2 * parts * lines, {method: tally.figures() for method, tally in tallies.items()}, naming)


def on_classes(
    filo: Filo, classes: Iterable[DataClass], root: Path, told: Callable[[], None] = lambda: None
) -> Iterator[Measured]:
    """Classes of a data set, each by its own pack or the generic one.

    Args:
        filo: The model with its head.
        classes: Of the data set.
        root: Its folder.
        told: Called after each picture.
    """
    alfa = Alfa(filo.backbone, ALFA, patches=True)
    plan = Plan(_VARIANTS, (0,), 0, filo.backbone.pixels.size)
    with tempfile.TemporaryDirectory() as folder:
        cache = FeatureCache(Path(folder), alfa, [alfa.method.aligner], _BATCH, lambda _count, _fresh: None)
        scores = FiloScores(filo, _BATCH, lambda _count, _fresh: None)
        evaluator = ClassEvaluator(alfa, cache, plan, told, filo=scores)
        for data in classes:
            pack = pack_for(data.name)
            result = evaluator.evaluate(data, pack, root)
            figures = {
                run.variant: Figures(run.metrics.auroc or 0.0, run.metrics.pauroc or 0.0, run.metrics.pro or 0.0)
                for run in result.runs
            }
            kinds, naming = kinds_of(filo.texts(pack)), Naming()
            digests = cache.digests([sample.path for sample in data.test])
            for sample in data.test:
                if (found := scores.get(digests[sample.path])) is not None and sample.anomalous:
                    naming.add(found, kinds, [sample.defect])
            yield Measured(data.name, len(result.pictures), figures, naming)


def kinds_of(texts: FiloTexts) -> list[str]:
    """The kind of defect of each of a pack's own phrases."""
    return [kind for kind in texts.wording.defects if kind]


def pack_for(name: str) -> PromptPack:
    """The pack of a class, or `generic` where it has none."""
    return load_pack(name if name in list_packs() else "generic")
