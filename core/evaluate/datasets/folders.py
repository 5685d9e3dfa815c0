"""Looking into folders: pictures, sub-folders, and which mask is whose.

Names are compared without regard to case, since archives that went through Windows differ in it. Links are followed.
Hidden files, and what file managers and systems leave behind, are passed over.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

from core import picture_files
from core.evaluate.datasets.sample import DatasetError, listed
from core.picture_files import is_picture


def entries(folder: Path) -> list[Path]:
    """What is in `folder`, sorted.

    Raises:
        DatasetError: it cannot be listed.
    """
    try:
        return picture_files.entries(folder)
    except OSError as error:
        raise DatasetError(f"{folder}: {error.strerror or error}; a folder that can be read is needed") from error


def subfolders(folder: Path) -> list[Path]:
    """Sorted; empty where `folder` is none itself."""
    return [one for one in entries(folder) if one.is_dir()] if folder.is_dir() else []


def named(folder: Path, names: Collection[str]) -> list[Path]:
    """Sub-folders of `folder` with one of the lower-case `names`."""
    return [one for one in subfolders(folder) if one.name.lower() in names]


def inside(folder: Path, *names: str) -> Path | None:
    """The folder along `names` (lower case) below `folder`; None if it is not there."""
    for name in names:
        found = named(folder, (name,))
        if not found:
            return None
        folder = found[0]
    return folder


def pictures(folder: Path, top: Path, notes: list[str]) -> list[Path]:
    """Pictures directly in `folder`, sorted; what else lies there is added to `notes`, named from `top`."""
    found = entries(folder)
    others = [one for one in found if not is_picture(one)]
    if others:
        notes.append(f"Left out, as no pictures of a kind that is read: {listed(others, top)}.")
    elif not found:
        notes.append(f"{folder.relative_to(top).as_posix()} is empty.")
    return [one for one in found if is_picture(one)]


class Masks:
    """Masks by the stem of the picture that they belong to.

    A mask is `<stem>.png` or `<stem>_mask.png` in any format that is read, or all pictures in a folder `<stem>`.
    """

    def __init__(self, folders: Sequence[Path], without: Collection[str] = ()) -> None:
        """Those in `folders`, less the sub-folders named `without`."""
        self._files: dict[str, list[Path]] = {}
        self._others: list[Path] = []
        for folder in folders:
            for one in entries(folder):
                if not one.is_dir():
                    self._add(one.stem, one)
                elif one.name not in without:
                    for mask in entries(one):
                        self._add(one.name, mask)

    def _add(self, stem: str, path: Path) -> None:
        if is_picture(path):
            self._files.setdefault(stem, []).append(path)
        else:
            self._others.append(path)

    def files(self) -> set[Path]:
        """All masks."""
        return {mask for masks in self._files.values() for mask in masks}

    def pair(self, paths: Sequence[Path], top: Path, notes: list[str]) -> dict[Path, tuple[Path, ...]]:
        """The masks of each of `paths`; masks of none of them, or of several, are added to `notes`."""
        by_stem: dict[str, list[Path]] = {}
        for path in paths:
            by_stem.setdefault(path.stem, []).append(path)
        pairs: dict[Path, list[Path]] = {}
        orphans: list[Path] = []
        shared: list[Path] = []
        for stem, masks in self._files.items():
            owners = by_stem.get(stem) or by_stem.get(stem.removesuffix("_mask")) or []
            if len(owners) == 1:
                pairs.setdefault(owners[0], []).extend(masks)
            else:
                (shared if owners else orphans).extend(masks)
        if self._others:
            notes.append(f"Left out, as no masks of a kind that is read: {listed(sorted(self._others), top)}.")
        if orphans:
            notes.append(f"Left out, as masks of no picture: {listed(sorted(orphans), top)}.")
        if shared:
            # Which of the pictures it shows the defect of cannot be known, and a wrong mask is worse than none.
            notes.append(f"Left out, as masks that fit several pictures: {listed(sorted(shared), top)}.")
        return {path: tuple(sorted(masks)) for path, masks in pairs.items()}
