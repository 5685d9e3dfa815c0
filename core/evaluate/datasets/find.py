"""Finds the classes of a data set by looking at its folders."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path

from core.evaluate.datasets import mvtec, plain, visa
from core.evaluate.datasets.folders import named, subfolders
from core.evaluate.datasets.sample import DataClass, DatasetError
from core.printable import encodable

_LOOKED_FOR = (
    "looked in it, and in its folders, for train/good with test/<good or defect> (MVTec AD, MVTec LOCO, MPDD, BTAD, "
    "prepared VisA) or test_public (MVTec AD 2), Data/Images/{Normal,Anomaly} (VisA), and good with bad (or ok with "
    "ng, normal with anomaly) and the kinds of defects below it (Real-IAD)"
)
_MOST_NAMED = 6


def find_classes(root: Path, names: Sequence[str] | None = None) -> list[DataClass]:
    """The classes of the data set at `root`, sorted by name; `root` may also be the folder of one class.

    Only the classes called `names`, if there are any names; the others are then not looked into.

    Raises:
        DatasetError: no such folder, no data set, no class of that name, or a class without test pictures.
    """
    if not root.is_dir():
        what = "a file; unpack it, and name the folder" if root.exists() else "no such folder"
        raise DatasetError(f"{root}: {what}")
    folders = _class_folders(root)
    if not folders:
        raise DatasetError(f"{root}: no data set; {_LOOKED_FOR}{_deeper(root) or _instead(root)}")
    chosen = sorted(folders)
    if names:
        names = [encodable(name) for name in names]
        for name in names:
            if name not in folders:
                raise DatasetError(f"{root}: no class {name!r}{_close(name, chosen)}; there are {', '.join(chosen)}")
        chosen = sorted(set(names))
    return [_load(folders[name], name) for name in chosen]


def require_both_labels(classes: Sequence[DataClass], root: Path) -> None:
    """So that something can be measured.

    Raises:
        DatasetError: no class has both good and defective test pictures.
    """
    if any(len({sample.anomalous for sample in data.test}) == 2 for data in classes):
        return
    data = classes[0]
    goods = sum(not sample.anomalous for sample in data.test)
    said = "".join(f" {note}" for note in data.notes)
    raise DatasetError(
        f"{root}: good and defective test pictures are needed, and no class has both: {data.name} ({data.layout}) has "
        f"{goods} good and {len(data.test) - goods} defective ones.{said}"
    )


def _class_folders(root: Path) -> dict[str, Path]:
    """By the class's name."""
    if _is_class(root):
        return {encodable(_real(root).name): root}
    return {encodable(folder.name): folder for folder in subfolders(root) if _is_class(folder)}


def _is_class(folder: Path) -> bool:
    return visa.matches(folder) or mvtec.matches(folder) or plain.matches(folder)


def _load(folder: Path, name: str) -> DataClass:
    if visa.matches(folder):
        return visa.load(folder, name, _real(folder).parent)
    # `test` decides: plain folders may have a `train` of their own beside `good` and `bad`.
    if plain.matches(folder) and not named(folder, mvtec.TESTS):
        return plain.load(folder, name)
    return mvtec.load(folder, name)


def _real(folder: Path) -> Path:
    """`folder`, or where its name does not say what it is called (`.`, `..`), its full path."""
    return folder if folder.name not in ("", "..") else folder.resolve()


def _close(name: str, known: list[str]) -> str:
    lower = {one.lower(): one for one in known}
    found = difflib.get_close_matches(name.lower(), lower, 1)
    return f" (did you mean {lower[found[0]]!r}?)" if found else ""


def _instead(root: Path) -> str:
    """The folders that are there instead."""
    names = [folder.name for folder in subfolders(root)]
    more = ", …" if len(names) > _MOST_NAMED else ""
    return f". There are {', '.join(names[:_MOST_NAMED])}{more}: rename or move them so" if names else ""


def _deeper(root: Path) -> str:
    """A hint where the data set lies one folder further down, as after unpacking an archive."""
    for folder in subfolders(root):
        try:
            found = _class_folders(folder)
        except DatasetError:  # it cannot be read, and is no place to point to
            continue
        if found:
            return f". There is one in {folder}: name that folder"
    return ""
