"""Made-up evaluations: scores and figures from a seed, no model."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from core.evaluate.metrics import deciles, image_metrics, operate
from core.evaluate.result import ClassResult, Evaluation, Metrics, Picture, Run


def part(path: str, defect: str = "good", masked: bool = True, area: float | None = None) -> Picture:
    """One test picture."""
    return Picture(path=path, anomalous=defect != "good", defect=defect, masked=masked, area=area)


def run(pictures: Sequence[Picture], variant: str, shots: int, seed: int, lift: float = 0.12) -> Run:
    """Scores whose labels lie `lift` apart, and what follows from them."""
    rng = np.random.default_rng([seed, shots, len(variant), len(pictures)])
    labels = np.array([picture.anomalous for picture in pictures], bool)
    scores = np.clip(rng.normal(0.45, 0.06, len(pictures)) + lift * labels, 0.0, 1.0)
    operation = operate(scores, labels, np.clip(rng.normal(0.45, 0.06, 60), 0.0, 1.0))
    measured = [index for index, picture in enumerate(pictures) if picture.area is not None]
    areas = np.array([pictures[index].area for index in measured], float)
    found = np.array([scores[index] >= operation.threshold for index in measured], bool)
    auroc, aupr, f1_max = image_metrics(scores, labels)
    pixel = [float(value) for value in rng.uniform((0.85, 0.6, 0.3), (0.97, 0.9, 0.6))] if measured else [None] * 3
    return Run(
        variant=variant,
        shots=shots,
        seed=seed,
        shot_paths=tuple(f"train/good/{index:03}.png" for index in range(shots)),
        metrics=Metrics(auroc=auroc, aupr=aupr, f1_max=f1_max, pauroc=pixel[0], pro=pixel[1], pf1_max=pixel[2]),
        scores=tuple(scores.tolist()),
        hits=tuple(bool(rng.random() < 0.7) if p.anomalous and p.masked else None for p in pictures),
        operation=operation,
        deciles=deciles(areas, found),
    )


def a_class(
    name: str,
    good: int = 24,
    defects: Sequence[str] = ("crack", "scratch"),
    masked: bool = True,
    variants: Sequence[str] = ("alfa",),
    shots: Sequence[int] = (0, 4),
    seeds: int = 2,
    broken: tuple[str, ...] = (),
) -> ClassResult:
    """A class with `good` good parts and 16 parts of each kind of defect; variants after the first at 0 shots only."""
    rng = np.random.default_rng(len(name))
    pictures = [part(f"{name}/test/good/{index:03}.png") for index in range(good)]
    for defect in defects:
        for index in range(16):
            area = float(rng.lognormal(-5, 1.2)) if masked else None
            pictures.append(part(f"{name}/test/{defect}/{index:03}.png", defect, masked, area and min(area, 1.0)))
    settings = [(variant, count) for variant in variants for count in shots if count == 0 or variant == variants[0]]
    runs = [
        run(pictures, variant, count, seed, 0.12 + 0.02 * count)
        for variant, count in settings
        for seed in range(seeds if count else 1)
    ]
    return ClassResult(
        name=name,
        layout="mvtec",
        pack=name,
        pack_version="1.2.0",
        pack_sha256="0123456789abcdef" * 4,
        train=60,
        pictures=tuple(pictures),
        broken=broken,
        runs=tuple(runs),
    )


def evaluation(*classes: ClassResult, dataset: str = "parts", model: str = "ViT-B-16-plus-240") -> Evaluation:
    """An evaluation of these classes."""
    return Evaluation(
        version="0.1.0",
        dataset=dataset,
        resolution=(240, 240),
        shots=(0, 4),
        seeds=2,
        model=model,
        fingerprint="f" * 16,
        device="cpu",
        dtype="fp32",
        scales=(2, 3),
        classes=classes,
    )
