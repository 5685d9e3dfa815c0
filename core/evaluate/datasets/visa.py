"""VisA as it is published: `Data/Images` and `Data/Masks`, and at the root a file that says what trains and what tests.

<class>/Data/Images/{Normal,Anomaly}/*.JPG
<class>/Data/Masks/Anomaly/<stem>.png     small numbers, one for each kind of defect
<class>/image_anno.csv                    image, label, mask: the kinds of defect in each picture
split_csv/1cls.csv                        object, split, label, image, mask; paths from the root
"""

from __future__ import annotations

import csv
import io
from pathlib import Path, PurePosixPath

from core.evaluate.datasets.folders import inside, pictures
from core.evaluate.datasets.mask_folders import Masks
from core.evaluate.datasets.sample import GOOD, DataClass, DatasetError, Sample, assemble, listed
from core.regular_file import read_regular

SPLIT = "split_csv/1cls.csv"
KINDS = "image_anno.csv"
_COLUMNS = ("object", "split", "label", "image", "mask")
_DEFECT = "anomaly"
_LARGEST = 64 << 20  # bytes of a table
_TRAIN = 9, 10
"""Share of the normal pictures that trains where there is no split file, as in the published split."""


def matches(folder: Path) -> bool:
    """Whether `folder` is a class of VisA."""
    return inside(folder, "data", "images") is not None


def load(folder: Path, name: str, root: Path) -> DataClass:
    """The class in `folder`, split as the file below `root` says.

    Raises:
        DatasetError: there are no test pictures, or the split file is none.
    """
    table = root / SPLIT
    notes: list[str] = []
    if table.is_file():
        rows = [row for row in _rows(table) if row["object"] == name]
        if rows:
            return _by_table(folder, name, table, rows)
        notes.append(f"{SPLIT} does not name {name}, so that it is not used.")
    normal = inside(folder, "data", "images", "normal")
    anomaly = inside(folder, "data", "images", "anomaly")
    masked = inside(folder, "data", "masks", "anomaly")
    goods = pictures(normal, folder, notes) if normal else []
    bads = pictures(anomaly, folder, notes) if anomaly else []
    cut = len(goods) * _TRAIN[0] // _TRAIN[1]
    pairs = Masks([masked] if masked else []).pair(bads, folder, notes)
    test = [Sample(path, False, GOOD) for path in goods[cut:]]
    kinds = _kinds(folder, notes)
    test += [Sample(path, True, kinds.get(path.name, _DEFECT), pairs.get(path, ())) for path in bads]
    layout = f"VisA (no {SPLIT}: the first 90 % of the normal pictures train)"
    return assemble(folder, name, layout, goods[:cut], test, notes)


def _by_table(folder: Path, name: str, table: Path, rows: list[dict[str, str]]) -> DataClass:
    notes: list[str] = []
    train: list[Path] = []
    test: list[Sample] = []
    missing: list[Path] = []
    kinds = _kinds(folder, notes)
    for row in rows:
        path = _below(folder, table, name, row["image"])
        mask = _below(folder, table, name, row["mask"]) if row["mask"] else None
        anomalous = row["label"].lower() != "normal"
        if not path.is_file():
            missing.append(path)
        elif row["split"] == "test":
            masks = (mask,) if anomalous and mask and mask.is_file() else ()
            test.append(Sample(path, anomalous, kinds.get(path.name, _DEFECT) if anomalous else GOOD, masks))
        elif anomalous:
            raise DatasetError(f"{table}: {row['image']} trains and is no normal picture; use the one-class split")
        else:
            train.append(path)
    if missing:
        notes.append(f"In {SPLIT} and not on disk: {listed(sorted(missing), folder)}.")
    masked = inside(folder, "data", "masks", "anomaly")
    orphans = Masks([masked] if masked else []).files() - {mask for sample in test for mask in sample.masks}
    if orphans:
        notes.append(f"Left out, as masks of no picture in {SPLIT}: {listed(sorted(orphans), folder)}.")
    return assemble(folder, name, f"VisA ({SPLIT})", train, test, notes)


def _kinds(folder: Path, notes: list[str]) -> dict[str, str]:
    """The kinds of defect, `bent, melt` for instance, by the name of the picture; what is no kind is left out."""
    table = folder / KINDS
    if not table.is_file():
        return {}
    try:
        rows = list(csv.DictReader(io.StringIO(read_regular(table, _LARGEST).decode("utf-8-sig"), newline="")))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        notes.append(f"{KINDS} cannot be read, so that all defects are of one kind: {error}.")
        return {}
    found = ((PurePosixPath(row.get("image") or "").name, (row.get("label") or "").strip()) for row in rows)
    return {name: ", ".join(label.split(",")) for name, label in found if label and label.lower() != "normal"}


def _rows(table: Path) -> list[dict[str, str]]:
    try:
        reader = csv.DictReader(io.StringIO(read_regular(table, _LARGEST).decode("utf-8-sig"), newline=""))
        lacking = [column for column in _COLUMNS if column not in (reader.fieldnames or ())]
        if lacking:
            raise DatasetError(
                f"{table}: no column {', '.join(lacking)}; restore the file, or remove it for a split by order"
            )
        rows = [{column: (row[column] or "").strip() for column in _COLUMNS} for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DatasetError(f"{table}: {error}; restore the file, or remove it for a split by order") from error
    for row in rows:
        if row["split"] not in ("train", "test") or row["label"].lower() not in ("normal", "anomaly"):
            raise DatasetError(
                f"{table}: {row['image']} has the split {row['split']!r} and the label {row['label']!r}; "
                "train or test, and normal or anomaly are read"
            )
    return rows


def _below(folder: Path, table: Path, name: str, path: str) -> Path:
    """A path of the table, which begins with the class, from the class's folder."""
    parts = PurePosixPath(path).parts
    if not parts or parts[0] != name or ".." in parts:
        raise DatasetError(f"{table}: {path!r} is no path below {name}; restore the file, or remove it")
    return folder.joinpath(*parts[1:])
