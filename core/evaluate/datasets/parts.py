"""The pictures of parts, whether they lie in a folder or below it, as samples with their masks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path

from core.evaluate.datasets.folders import entries, named, pictures, subfolders
from core.evaluate.datasets.mask_folders import Masks, along, mask_folders, masks_beside
from core.evaluate.datasets.sample import GOOD, GOOD_FOLDERS, Sample, listed
from core.picture_files import is_picture

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
    """The pictures in the folder `label` and in the folders below it, one for each folder; masks are no parts.

    Args:
        label: A folder that is called as a label: good, bad, or the kind of a defect.
        top: The class's folder, from which `notes` name files.
        notes: What lies there and is no picture is added.
    """
    folders = _with_pictures(label)
    if label in folders and len(folders) > 1:
        inner = folders[1].relative_to(top).as_posix()
        more = ", …" if len(folders) > 2 else ""
        notes.append(f"Pictures in folders among those of {label.name} are read too: {inner}{more}.")
    known = {above for folder in folders for above in (folder, *folder.parents)}
    return [
        _parts(folder, (label.name, *folder.relative_to(label).parts), top, notes, known)
        for folder in folders or [label]
    ]


def good_pictures(folders: Sequence[Path], top: Path, notes: list[str]) -> list[Path]:
    """The pictures in the folders of good parts directly in `folders`; masks among them are passed over."""
    labels = [label for folder in folders for label in named(folder, GOOD_FOLDERS)]
    return [path for label in labels for parts in parts_below(label, top, notes) for path in parts.pictures]


def note_unlabelled(folder: Path, top: Path, notes: list[str]) -> None:
    """Pictures that lie directly in `folder`, where only folders say what is good, are added to `notes`."""
    loose = [path for path in entries(folder) if is_picture(path)]
    if loose:
        notes.append(f"Left out, as no folder says whether they are good: {listed(loose, top)}.")


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
    unread = Masks([*sorted_out, *(folder for parts in goods for folder in _inner(parts, tops))]).files()
    unread |= {mask for parts in goods for mask in parts.masks}
    pairs: dict[Path, tuple[Path, ...]] = {}
    for parts in bads:
        folders = _masks_of(parts, tops)
        sorted_out |= set(folders)
        inner = Masks([*folders, *_inner(parts, tops)], sorted_out - set(folders), parts.masks)
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


def _inner(parts: Parts, tops: Mapping[Path, str | None]) -> list[Path]:
    """The folders of masks among the pictures, which are for no others."""
    return [masks for masks in mask_folders(parts.folder) if masks not in tops]


def _with_pictures(folder: Path, above: frozenset[Path] = frozenset()) -> list[Path]:
    """`folder` and the folders below it, those of masks apart, in which pictures lie directly."""
    real = folder.resolve()
    if real in above:  # a link in a circle
        return []
    masks, above = mask_folders(folder), above | {real}
    inner = [found for below in subfolders(folder) if below not in masks for found in _with_pictures(below, above)]
    return [folder, *inner] if any(is_picture(path) for path in entries(folder)) else inner


def _parts(folder: Path, names: tuple[str, ...], top: Path, notes: list[str], known: Set[Path]) -> Parts:
    """`known`: folders that are looked into, and so are not noted."""
    paths = pictures(folder, top, notes, also=(known | mask_folders(folder).keys()).__contains__)
    masks = masks_beside(paths, defective=names[0].lower() not in GOOD_FOLDERS)
    return Parts(folder, names, tuple(path for path in paths if path not in set(masks)), tuple(masks))
