"""Classes split into `train` and `test`: MVTec AD, AD 2 and LOCO, MPDD, BTAD, and VisA as it is often prepared.

    <class>/train/good                                    shots come from here
    <class>/test/<good or a kind of defect>               scored
    <class>/ground_truth/<kind of defect>/<stem>_mask.png

BTAD says `ok` and `ko` and leaves `_mask` out, as prepared VisA does; LOCO has a folder of masks for each picture. AD 2
says `test_public`, and has its masks there; what it keeps without labels (`test_private`) is not read, and neither is a
`validation` split. Masks may also lie as `mask_folders` says.
"""

from __future__ import annotations

from pathlib import Path

from core.evaluate.datasets.folders import named, subfolders
from core.evaluate.datasets.mask_folders import mask_folders
from core.evaluate.datasets.parts import good_pictures, note_unlabelled, parts_below, samples
from core.evaluate.datasets.sample import GOOD_FOLDERS, DataClass, assemble

TESTS = ("test", "test_public")
_LOCO = ("logical_anomalies", "structural_anomalies")


def matches(folder: Path) -> bool:
    """Whether `folder` is such a class, be it incomplete."""
    return bool(named(folder, TESTS)) or any(named(train, GOOD_FOLDERS) for train in named(folder, ("train",)))


def load(folder: Path, name: str) -> DataClass:
    """The class in `folder`.

    Raises:
        DatasetError: there are no test pictures.
    """
    notes: list[str] = []
    train = good_pictures(named(folder, ("train",)), folder, notes)
    tests = named(folder, TESTS)
    for test in tests:
        note_unlabelled(test, folder, notes)
    kinds = [kind for test in tests for kind in subfolders(test) if kind not in mask_folders(test)]
    found = [parts for kind in kinds for parts in parts_below(kind, folder, notes)]
    layout = _layout({test.name.lower() for test in tests}, {kind.name.lower() for kind in kinds})
    return assemble(folder, name, layout, train, samples(found, folder, notes), notes)


def _layout(tests: set[str], kinds: set[str]) -> str:
    if tests == {"test_public"}:
        return "MVTec AD 2"
    if kinds & set(_LOCO):
        return "MVTec LOCO"
    return "BTAD" if kinds == {"ok", "ko"} else "MVTec AD"
