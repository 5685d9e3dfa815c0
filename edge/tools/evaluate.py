"""`alfa-edge evaluate`: the paper's tables on anybody's pictures."""

from __future__ import annotations

import csv
import os
import platform
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from core.alfa import ALFA, WINCLIP, Alfa, Method
from core.backbone import Backbone
from core.basis import THRESHOLD
from core.evaluate.cache import FeatureCache
from core.evaluate.compare import Comparison
from core.evaluate.datasets import DataClass, find_classes, read_mask, require_both_labels
from core.evaluate.evaluator import CALIBRATION, ClassEvaluator, name_of
from core.evaluate.few_shot import FewShot, MapStore
from core.evaluate.filo_scores import FiloScores
from core.evaluate.intervals import with_intervals
from core.evaluate.plan import Plan, Variant
from core.evaluate.report import Shown, render
from core.evaluate.result import METRICS, ClassResult, Evaluation
from core.filo.filo import Filo
from core.heatmap import to_frame
from core.image import encode_jpeg, read
from core.overlay import outlined, overlay
from core.packs.pack import PromptPack, list_packs, load_pack
from core.printable import shown
from core.tiles import OVERLAP, Tiles, most_tiles, tiles_name
from core.towers import Tower
from edge import __version__
from edge.clock import iso_ms, monotonic, utc_now

_SHOWN = 4  # best and worst pictures of each class in the report
_WIDEST = 480  # pixels of a picture in the report


@dataclass(frozen=True)
class Choice:
    """What is to be evaluated, as asked for."""

    root: Path
    classes: tuple[str, ...] | None
    pack: str
    shots: tuple[int, ...]
    seeds: int
    method: str
    scales: tuple[int, ...]
    windows: str
    ablate: bool
    batch: int
    cache: Path
    resume: bool
    few: FewShot | None = None
    """How normal shots are compared; None: as in Eq. 12."""
    tiles: Tiles = (1, 1)
    overlap: float = OVERLAP
    named: str = ""
    """What was asked for beside the defaults, as variants are named by it, for instance `tower=none`."""


@dataclass
class Pace:
    """How long encoding took, milliseconds per picture; what the cache held is not counted."""

    taken: list[float] = field(default_factory=list)
    _last: float = 0.0

    def note(self, count: int, fresh: bool) -> None:
        """A batch of `count` pictures is done, or, with 0, the first begins."""
        now = monotonic()
        if fresh:
            self.taken += [(now - self._last) * 1000 / count] * count
        self._last = now


def variants(choice: Choice, tower: bool = False) -> tuple[Variant, ...]:
    """The method, and with `ablate` what is left when each of its parts, or with shots each source, is taken away."""
    method = {"scales": choice.scales, "windows": choice.windows}
    winclip = replace(WINCLIP, scales=choice.scales, windows=choice.windows)
    if choice.method == "winclip":
        return (Variant("winclip", winclip, winclip_prompts=True),)
    alfa = replace(ALFA, **method)  # type: ignore[arg-type]
    few = choice.few
    if choice.method == "filo":
        named = Variant(" ".join(filter(None, ("filo", choice.named))), alfa, few=few, filo=True)
        others = (Variant("alfa", alfa), Variant("winclip", winclip, winclip_prompts=True)) if choice.ablate else ()
        return (named, *others)
    scorer = "alfa" if few is None or few.scorer == "evidence" else few.scorer
    chosen = [Variant(" ".join(filter(None, (scorer, choice.named))), alfa, few=few)]
    if chosen[0].name != "alfa" and 0 in choice.shots and scorer != "mutual":
        chosen = [Variant("alfa", alfa, at="zero"), replace(chosen[0], at="few")]
    if choice.ablate:
        chosen += [
            Variant("no aligner", replace(alfa, aligner="identity")),
            Variant("no contextual scoring", replace(alfa, adaptation=False)),
            Variant("no llm prompts", replace(alfa, llm_prompts=False)),
            Variant("global score only", alfa, parts="global"),
            Variant("local score only", alfa, parts="local"),
            Variant("winclip", winclip, winclip_prompts=True),
        ]
        if few is not None and scorer == "alfa" and tower:
            for source in ("clip", "tower"):
                chosen.append(Variant(f"{source} only", alfa, few=replace(few, sources=source), at="few"))
    return tuple(chosen)


def distinct(chosen: Sequence[Variant], alfa: Alfa) -> tuple[Variant, ...]:
    """Without those whose zero-shot scores are the first's by construction: what they leave out is not there."""
    first = chosen[0]

    def same(one: Variant) -> bool:
        methods = (alfa.with_method(variant.method).method for variant in (one, first))
        apart = one.few or one.at == "few" or one.parts != first.parts or one.winclip_prompts != first.winclip_prompts
        apart = apart or one.filo != first.filo
        return not apart and len(set(methods)) == 1

    return (first, *(one for one in chosen[1:] if not same(one)))


class Evaluator:
    """One evaluation: its progress bar, its result, its files."""

    def __init__(
        self,
        backbone: Backbone,
        choice: Choice,
        console: Console,
        tower: Tower | None = None,
        filo: Filo | None = None,
    ) -> None:
        """Raises DatasetError, PackError, ValueError: the data set, a pack or the windows are not as asked."""
        self._choice = choice
        self._console = console
        self._classes = find_classes(choice.root, choice.classes)
        require_both_labels(self._classes, choice.root)
        self._packs = {data.name: self._pack(data.name) for data in self._classes}
        self._samples = {name_of(one.path, choice.root): one for data in self._classes for one in data.test}
        self._files = {data.name: {name_of(path, choice.root): path for path in data.files()} for data in self._classes}
        chosen = variants(choice, tower is not None)
        resolution = backbone.pixels.size
        self._alfa = Alfa(backbone, chosen[0].method, patches=True)
        chosen = distinct(chosen, self._alfa)
        shots = tuple(sorted(set(choice.shots)))
        self._plan = Plan(chosen, shots, choice.seeds, resolution, choice.tiles, choice.overlap)
        self._tower = tower
        if filo is None or choice.ablate:
            self._alfa.warm_up(max(choice.batch, most_tiles(choice.tiles)))
        if filo is not None:
            filo.warm_up(choice.batch)
        self._head = None if filo is None else filo.head.fingerprint
        self.pace = Pace()
        self._progress: Progress | None = None
        aligners = [self._alfa.with_method(variant.method).method.aligner for variant in chosen]
        self._cache = FeatureCache(choice.cache, self._alfa, aligners, choice.batch, self._encoded)
        if not choice.resume:
            self._cache.clear()
        fine = choice.windows != "none"
        store = MapStore(backbone, tower, choice.cache, choice.batch, self._mapped, choice.resume, fine)
        scores = None if filo is None else FiloScores(filo, choice.batch, self._encoded)
        self._evaluator = ClassEvaluator(self._alfa, self._cache, self._plan, self._advance, store, scores)

    def run(self) -> Evaluation:
        """Evaluates every class, in the data set's order."""
        results = []
        with self._bar() as progress:
            self._task = progress.add_task(
                "evaluating", total=sum(self._work(data) for data in self._classes), speed=""
            )
            for data in self._classes:
                progress.update(self._task, description=shown(data.name))
                results.append(self._evaluator.evaluate(data, self._packs[data.name], self._choice.root))
        backbone, method = self._alfa.backbone, self._alfa.method
        few = self._choice.few
        found = Evaluation(
            version=__version__,
            dataset=self._choice.root.resolve().name,
            resolution=self._plan.resolution,
            shots=self._plan.shots,
            seeds=self._plan.seeds,
            model=backbone.name,
            fingerprint=backbone.fingerprint,
            device=str(backbone.device),
            dtype=backbone.dtype,
            scales=method.scales,
            windows=method.windows,
            few_shot="alfa" if few is None else few.scorer,
            tower=None if self._tower is None else self._tower.name,
            tower_fingerprint=None if self._tower is None else self._tower.fingerprint,
            augment="none" if few is None else few.augment,
            within=None if few is None else few.within,
            head=self._head,
            tiles=tiles_name(self._choice.tiles, self._choice.overlap),
            classes=tuple(results),
        )
        return with_intervals(found)

    def report(self, evaluation: Evaluation, command: str, comparison: Comparison | None) -> str:
        """The HTML report."""
        shown = {result.name: list(self._shown(result)) for result in evaluation.classes}
        return render(evaluation, shown, self._facts(command), comparison=comparison)

    def _pack(self, name: str) -> PromptPack:
        """The pack that was asked for; `auto` is the class's own, or `generic` where there is none."""
        if self._choice.pack != "auto":
            return load_pack(self._choice.pack)
        return load_pack(name if name in list_packs() else "generic")

    def _work(self, data: DataClass) -> int:
        """Steps of the bar: each picture is encoded once and scored once."""
        shots = min(max(self._plan.shots) * self._plan.seeds, len(data.train))
        mapped = any(one.few and (one.mutual or max(self._plan.shots)) for one in self._plan.variants)
        passes = 2 + mapped + (self._head is not None and self._choice.ablate)  # by FiLo, and by the others
        return passes * (len(data.test) + min(CALIBRATION, len(data.train))) + (1 + mapped) * shots

    @contextmanager
    def _bar(self) -> Iterator[Progress]:
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[speed]}"),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=self._console, disable=not self._console.is_terminal) as progress:
            self._progress = progress
            yield progress
            self._progress = None

    def _encoded(self, count: int, fresh: bool) -> None:
        self.pace.note(count, fresh)
        if self._progress is not None and fresh:
            self._progress.update(self._task, speed=f"{1000 / self.pace.taken[-1]:.1f} images/s")
        self._advance(count)

    def _mapped(self, count: int, _: bool) -> None:
        self._advance(count)

    def _advance(self, count: int = 1) -> None:
        if self._progress is not None:
            self._progress.advance(self._task, count)

    def _facts(self, command: str) -> dict[str, str]:
        device = self._alfa.backbone.device
        machine = (
            torch.cuda.get_device_name(device)
            if device.type == "cuda"
            else f"{os.cpu_count()} cores, {platform.machine()}"
        )
        facts = {
            "date": iso_ms(utc_now()),
            "machine": f"{machine}, Python {platform.python_version()}, torch {torch.__version__}",
            "command": command,
        }
        if self.pace.taken:
            p50, p95, p99 = np.percentile(self.pace.taken, (50, 95, 99))
            facts["encoding"] = f"p50 {p50:.1f} ms, p95 {p95:.1f} ms, p99 {p99:.1f} ms per picture"
            facts["speed"] = f"{1000 / float(np.mean(self.pace.taken)):.1f} pictures/s"
        return facts

    def _shown(self, result: ClassResult) -> Iterator[Shown]:
        """The surest finds and the worst mistakes of the zero-shot run, or of the first; none where nothing was run."""
        if not result.runs:
            return
        run = result.runs[0]
        order = np.argsort(run.scores, kind="stable")
        good = [int(index) for index in order if not result.pictures[index].anomalous]
        bad = [int(index) for index in order if result.pictures[index].anomalous]
        threshold = run.operation.threshold if run.operation else THRESHOLD
        contour = THRESHOLD if run.pixel_threshold is None else run.pixel_threshold
        groups = (
            ("highest score of a defect", bad[::-1][:_SHOWN]),
            ("lowest score of a defect", bad[:_SHOWN]),
            ("highest score of a good part", good[::-1][:_SHOWN]),
        )
        pack, files = self._packs[result.name], self._files[result.name]
        shots = [files[name] for name in run.shot_paths]
        paths = [files[result.pictures[index].path] for _, some in groups for index in some]
        maps = iter(self._evaluator.heatmap(paths, pack, run.variant, shots))
        for caption, indices in groups:
            for index in indices:
                path = result.pictures[index].path
                image = read(files[path])
                height, width = image.shape[:2]
                scale = max(1, -(-max(height, width) // _WIDEST))
                small = np.ascontiguousarray(image[::scale, ::scale])
                size = small.shape[0], small.shape[1]
                mask = read_mask(self._samples[path], size, (height, width), result.masks_inverted)
                yield Shown(
                    path=path,
                    caption=caption,
                    verdict="anomaly" if run.scores[index] >= threshold else "normal",
                    score=run.scores[index],
                    contour=contour,
                    image=encode_jpeg(outlined(small, mask)),
                    overlay=encode_jpeg(overlay(small, to_frame(next(maps), size), contour)),
                )


def write_csv(evaluation: Evaluation, path: Path) -> None:
    """A row a run: class, variant, shots, seed and the metrics."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("class", "variant", "shots", "seed", *METRICS))
        for result in evaluation.classes:
            for run in result.runs:
                values = (getattr(run.metrics, name) for name in METRICS)
                cells = ("" if value is None else f"{value:.6f}" for value in values)
                writer.writerow((result.name, run.variant, run.shots, run.seed, *cells))


def parse_numbers(text: str) -> tuple[int, ...]:
    """`0,1,2` as integers.

    Raises:
        ValueError: it is no such list.
    """
    try:
        return tuple(int(one) for one in text.split(","))
    except ValueError:
        raise ValueError(f"{text!r}: write numbers, separated by commas, as 0,1,2") from None


def methods() -> Sequence[str]:
    """What `--method` takes."""
    return ("alfa", "winclip", "filo")


def scales_of(method: Method) -> str:
    """The window sizes as `--scales` takes them."""
    return ",".join(str(one) for one in method.scales)
