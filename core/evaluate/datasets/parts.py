"""The pictures of parts, whether they lie in a folder or below it, as samples with their masks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from core.evaluate.datasets.folders import named, pictures, subfolders
from core.evaluate.datasets.mask_folders import Masks, along, mask_folders, masks_beside
from core.evaluate.datasets.sample import GOOD, GOOD_FOLDERS, Sample, listed
from core.picture_files import pictures_in

BAD_FOLDERS = (
    *("bad", "ng", "nok", "ko", "nio", "not_good", "not_ok", "fail", "failed", "faulty", "reject", "rejected"),
    *("anomaly", "anomalies", "anomalous", "abnormal", "defect", "defects", "defective"),
)
"""Of defective parts of any kind, in lower case."""


@dataclass(frozen=True)
class Parts:
    """Pictures that lie in one folder.

    Attributes:
        folder: Where they lie.
        names: Of the folders from the one of the labels to `folder`, `("ng", "crack")` for instance.
        pictures: Sorted.
        masks: What lies among them and is a mask by its name.
    """

    folder: Path
    names: tuple[str, ...]
    pictures: tuple[Path, ...]
    masks: tuple[Path, ...]

    @property
    def good(self) -> bool:
        """Whether its label says so."""
        return self.names[0].lower() in GOOD_FOLDERS

    @property
    def kind(self) -> str:
        """Of the defect: the label, or where that names none, the folder in it."""
        return self.names[1] if len(self.names) > 1 and self.names[0].lower() in BAD_FOLDERS else self.names[0]


def parts_below(label: Path, top: Path, notes: list[str]) -> list[Parts]:
    """The pictures in the folder `label`, or where none lie there, in the folders below it, one for each folder.

    Args:
        label: A folder that is called as a label: good, bad, or the kind of a defect.
        top: The class's folder, from which `notes` name files.
        notes: What lies there and is no picture is added.
    """
    return [
        _parts(folder, (label.name, *folder.relative_to(label).parts), top, notes) for folder in _leaves(label)
    ] or [_parts(label, (label.name,), top, notes)]


def good_pictures(folders: Sequence[Path], top: Path, notes: list[str]) -> list[Path]:
    """The pictures in the folders of good parts directly in `folders`; masks among them are passed over."""
    labels = [label for folder in folders for label in named(folder, GOOD_FOLDERS)]
    return [path for label in labels for parts in parts_below(label, top, notes) for path in parts.pictures]


def samples(found: Sequence[Parts], top: Path, notes: list[str]) -> list[Sample]:
    """All the parts, each with its masks.

    Args:
        found: The parts.
        top: The class's folder, from which `notes` name files.
        notes: What masks are of no picture, of several, or of good parts is added.
    """
    around = {folder for parts in found for folder in parts.folder.parents if folder.is_relative_to(top)}
    tops = {masks: label for folder in sorted(around) for masks, label in mask_folders(folder).items()}
    goods, bads = ([parts for parts in found if parts.good == good] for good in (True, False))
    sorted_out: set[Path] = {folder for one in tops for folder in named(one, GOOD_FOLDERS)}
    for parts in goods:
        sorted_out |= set(_masks_of(parts, tops))
    unread = Masks([*sorted_out, *(folder for parts in goods for folder in mask_folders(parts.folder))]).files()
    unread |= {mask for parts in goods for mask in parts.masks}
    pairs: dict[Path, tuple[Path, ...]] = {}
    for parts in bads:
        folders = _masks_of(parts, tops)
        sorted_out |= set(folders)
        inner = Masks([*folders, *mask_folders(parts.folder)], sorted_out - set(folders), parts.masks)
        pairs |= inner.pair(parts.pictures, top, notes)
    # A good part may have a defective part's name, which then owns the mask.
    owners = [path for parts in bads for path in parts.pictures if path not in pairs]
    stems = {path.stem for path in owners}
    owners += [path for parts in goods for path in parts.pictures if path.stem not in stems]
    pairs |= Masks([masks for masks, label in tops.items() if label is None], sorted_out).pair(owners, top, notes)
    unread = unread.union(*(pairs.pop(path, ()) for parts in goods for path in parts.pictures))
    if unread:
        notes.append(f"Not read, as masks of good parts: {listed(sorted(unread), top)}.")
    return [
        Sample(path, not parts.good, GOOD if parts.good else parts.kind, pairs.get(path, ()))
        for parts in found
        for path in parts.pictures
    ]


def _masks_of(parts: Parts, tops: Mapping[Path, str | None]) -> list[Path]:
    """The folders of masks that are for these parts alone."""
    names = {name.lower() for name in parts.names}
    found = [folder for top, label in tops.items() if label is None for folder in along(top, parts.names)]
    return found + [top for top, label in tops.items() if label in names]


def _leaves(folder: Path) -> list[Path]:
    """The outermost folders with pictures, `folder` itself or below it; not those of masks."""
    if pictures_in(folder):
        return [folder]
    masks = mask_folders(folder)
    return [leaf for inner in subfolders(folder) if inner not in masks for leaf in _leaves(inner)]


def _parts(folder: Path, names: tuple[str, ...], top: Path, notes: list[str]) -> Parts:
    paths = pictures(folder, top, notes, also=mask_folders(folder).__contains__)
    masks = masks_beside(paths, defective=names[0].lower() not in GOOD_FOLDERS)
    return Parts(folder, names, tuple(path for path in paths if path not in set(masks)), tuple(masks))
