"""Measures a head of the bundled model beside ALFA and WinCLIP: `python -m core.filo.training`.

With `--photographs FOLDER`, classes of real photographs are measured too. The tables are those of the bundled model's
card, and are printed. `--bundle FILE` makes another head the one that comes with the package, in float16.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path

import torch

from core import models
from core.backbone import load_backbone
from core.evaluate.datasets import DataClass, Sample, find_classes
from core.filo.filo import Filo
from core.filo.head import load_head
from core.filo.heads import BUNDLED_FILE, find_head
from core.filo.training.card import naming_table, table
from core.filo.training.figures import Measured, on_classes, on_simline
from core.training.measure import groups


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m core.filo.training", description=__doc__)
    parser.add_argument("--head", default=models.BUNDLED, help="a file, as a training of FiLo writes it")
    parser.add_argument("--bundle", type=Path, help="the head that is to come with the package; nothing is measured")
    parser.add_argument("--photographs", type=Path, help="folder of classes in a layout that `evaluate` understands")
    parser.add_argument("--lines", type=int, default=3, help="simulated lines (designs) of each class")
    parser.add_argument("--parts", type=int, default=10, help="good, and as many defective, parts of each line")
    parser.add_argument("--defect-lines", type=int, default=1, help="lines of each class with held-out defects")
    parser.add_argument("--defect-parts", type=int, default=6, help="parts of each of those lines")
    parser.add_argument("--most", type=int, default=20, help="photographs of each class, good and as many defective")
    parser.add_argument("--dtype", default="fp32")
    arguments = parser.parse_args()
    if arguments.bundle is not None:
        load_head(arguments.bundle).save(Path(next(iter(models.__path__))) / BUNDLED_FILE, dtype=torch.float16)
        return
    backbone = load_backbone(models.BUNDLED, None, dtype=arguments.dtype)
    head = find_head(arguments.head)
    filo = Filo(backbone, head)
    found: dict[str, list[Measured]] = {}
    amounts = {
        "held-out classes": (arguments.lines, arguments.parts),
        "held-out defects": (arguments.defect_lines, arguments.defect_parts),
    }
    for group, amount in amounts.items():
        found[group] = [on_simline(filo, *each, *amount) for each in groups()[group]]
    if arguments.photographs:
        classes = [few(data, arguments.most) for data in find_classes(arguments.photographs)]
        found |= {measured.name: [measured] for measured in on_classes(filo, classes, arguments.photographs)}
    facts = (
        f"Head fingerprint `{head.fingerprint[:16]}` on `{backbone.name}`, {backbone.dtype}, "
        f"torch {torch.__version__}, {os.cpu_count()} cores, {platform.machine()}, "
        f"{datetime.now(timezone.utc):%Y-%m-%d}."
    )
    lines = ["", facts, "", *table(found), "", *naming_table(found), ""]
    sys.stdout.write("\n".join(lines) + "\n")


def few(data: DataClass, most: int) -> DataClass:
    """The class with `most` good and as many defective test pictures, evenly spaced, and no training pictures."""
    sides = ([sample for sample in data.test if sample.anomalous == anomalous] for anomalous in (False, True))
    kept = [sample for side in sides for sample in _spaced(side, most)]
    return replace(data, train=(), test=tuple(sorted(kept, key=lambda sample: sample.path)))


def _spaced(samples: Sequence[Sample], most: int) -> list[Sample]:
    if len(samples) <= most:
        return list(samples)
    return [samples[place * len(samples) // most] for place in range(most)]


if __name__ == "__main__":
    main()
