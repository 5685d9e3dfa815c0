"""Classes that are split into `train` and `test`: MVTec AD, MVTec LOCO, MPDD, BTAD, and VisA as it is often prepared.

    <class>/train/good                                    shots come from here
    <class>/test/<good or a kind of defect>               scored
    <class>/ground_truth/<kind of defect>/<stem>_mask.png

BTAD says `ok` and `ko` and leaves `_mask` out, as prepared VisA does; LOCO has a folder of masks for each picture,
and a `validation` split that is not read.
"""

from __future__ import annotations

from pathlib import Path

from core.evaluate.datasets.folders import Masks, entries, inside, named, pictures, subfolders
from core.evaluate.datasets.sample import GOOD, GOOD_FOLDERS, DataClass, Sample, assemble, listed
from core.picture_files import is_picture

_LOCO = ("logical_anomalies", "structural_anomalies")


def matches(folder: Path) -> bool:
    """Whether `folder` is such a class, be it incomplete."""
    train = inside(folder, "train")
    return inside(folder, "test") is not None or (train is not None and bool(named(train, GOOD_FOLDERS)))


def load(folder: Path, name: str) -> DataClass:
    """The class in `folder`.

    Raises:
        DatasetError: there are no test pictures.
    """
    notes: list[str] = []
    train = [
        path
        for top in named(folder, ("train",))
        for good in named(top, GOOD_FOLDERS)
        for path in pictures(good, folder, notes)
    ]
    test: list[Sample] = []
    truths = named(folder, ("ground_truth",))
    truth = {one.name.lower(): one for top in truths for one in subfolders(top)}
    kinds = [kind for top in named(folder, ("test",)) for kind in subfolders(top)]
    for kind in kinds:
        paths = pictures(kind, folder, notes)
        masked = truth.pop(kind.name.lower(), None)
        masks = Masks([masked] if masked else [])
        if kind.name.lower() in GOOD_FOLDERS:
            test += [Sample(path, False, GOOD) for path in paths]
            if unread := sorted(masks.files()):
                notes.append(f"Not read, as masks of good parts: {listed(unread, folder)}.")
            continue
        pairs = masks.pair(paths, folder, notes)
        test += [Sample(path, True, kind.name, pairs.get(path, ())) for path in paths]
    # A mask that lies in no folder of a kind is as lost as one of a kind that is not tested.
    orphans = [one for top in truths for one in entries(top) if is_picture(one)]
    orphans += [mask for one in truth.values() for mask in Masks([one]).files()]
    if orphans:
        notes.append(f"Left out, as masks of no picture: {listed(sorted(orphans), folder)}.")
    return assemble(folder, name, _layout({kind.name.lower() for kind in kinds}), train, test, notes)


def _layout(kinds: set[str]) -> str:
    if kinds & set(_LOCO):
        return "MVTec LOCO"
    return "BTAD" if kinds == {"ok", "ko"} else "MVTec AD"
