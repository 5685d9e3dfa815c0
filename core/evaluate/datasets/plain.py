"""Plain folders: good parts in one, defective parts in another, as one collects them, and as Real-IAD has them.

<class>/{good,bad}                        or ok/ng, ok/nok, normal/anomaly, normal/abnormal, ...
<class>/bad/<kind of defect>              or so; also deeper, and `good` likewise
<class>/train/good                        optional, for shots
<class>/{masks,ground_truth,label,...}    optional, see `mask_folders`; masks may also lie beside the pictures
"""

from __future__ import annotations

from pathlib import Path

from core.evaluate.datasets.folders import named
from core.evaluate.datasets.parts import BAD_FOLDERS, good_pictures, note_unlabelled, parts_below, samples
from core.evaluate.datasets.sample import GOOD_FOLDERS, DataClass, assemble


def matches(folder: Path) -> bool:
    """Whether `folder` has good and defective parts side by side."""
    return bool(named(folder, GOOD_FOLDERS)) and bool(named(folder, BAD_FOLDERS))


def load(folder: Path, name: str) -> DataClass:
    """The class in `folder`.

    Raises:
        DatasetError: there are no pictures.
    """
    notes: list[str] = []
    train = good_pictures(named(folder, ("train",)), folder, notes)
    note_unlabelled(folder, folder, notes)
    labels = named(folder, (*GOOD_FOLDERS, *BAD_FOLDERS))
    found = [parts for label in labels for parts in parts_below(label, folder, notes)]
    return assemble(folder, name, "plain folders", train, samples(found, folder, notes), notes)
