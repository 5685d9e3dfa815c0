"""Where masks lie, and which mask is whose: in folders of their own, or beside the pictures.

A folder of masks is called `ground_truth`, `mask`, `label`, `gt` or the like. It holds them as the pictures lie, in
folders of the same names, or all together. A mask is called as its picture, or so with `_mask`, `_label`, `_gt` or the
like behind it or before it, and so may the folder be (`bad_mask`); a folder called as the picture holds several. Beside
the pictures of defective parts, a PNG with the name of a JPEG is its mask.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

from core.evaluate.datasets.folders import entries, inside, subfolders
from core.evaluate.datasets.sample import listed
from core.picture_files import is_picture

_WORD = "masks?|labels?|gts?|ground[_ -]?truths?|annotations?|annos?|segmentations?|segs?"
_FOLDER = re.compile(rf"(?:defects?[_ -])?(?:{_WORD})", re.IGNORECASE)
_BEHIND = re.compile(rf"(.+)[_. -](?:{_WORD})(?:[_. -]?\d+)?", re.IGNORECASE)
_BEFORE = re.compile(rf"(?:{_WORD})[_. -](.+)", re.IGNORECASE)
_PHOTOGRAPHS = frozenset({".jpg", ".jpeg", ".bmp"})


def mask_folders(folder: Path) -> dict[Path, str | None]:
    """The folders of masks directly in `folder`, sorted, and the folder beside each whose pictures alone it is for.

    That is `bad` of `bad_mask`, in lower case, if there is such a folder; None: it is for all.
    """
    found = {path: owner(path.name.lower()) for path in subfolders(folder)}
    names = {path.name.lower() for path in found}
    return {
        path: label if label in names else None
        for path, label in found.items()
        if label in names or _FOLDER.fullmatch(path.name)
    }


def owner(stem: str) -> str | None:
    """The stem of the picture whose mask a file with the stem `stem` is by its name; None: it is called as no mask."""
    found = _BEHIND.fullmatch(stem) or _BEFORE.fullmatch(stem)
    return found[1] if found else None


def masks_beside(paths: Sequence[Path], defective: bool) -> list[Path]:
    """Those of the pictures in one folder that are masks of the others.

    Names alone do not make a mask (parts may be labels): one of the files that are called so must belong to a picture.
    """
    by_stem = {path.stem: path for path in paths if owner(path.stem) is None}
    called = [path for path in paths if owner(path.stem) is not None]
    found = called if any(owner(path.stem) in by_stem for path in called) else []
    if defective:
        photographs = {path.stem for path in paths if path.suffix.lower() in _PHOTOGRAPHS}
        found += [path for path in paths if path.suffix.lower() == ".png" and path.stem in photographs]
    return sorted(set(found))


def along(top: Path, parts: Sequence[str]) -> list[Path]:
    """The folder below `top` for pictures that lie in folders called `parts`; outer names may be left out."""
    for start in range(len(parts)):
        found = inside(top, *(part.lower() for part in parts[start:]))
        if found is not None:
            return [found]
    return []


class Masks:
    """Masks by the stem that their names give."""

    def __init__(self, folders: Sequence[Path], without: Collection[Path] = (), beside: Iterable[Path] = ()) -> None:
        """Those in `folders`, less the folders `without` in them, and the files `beside` the pictures."""
        self._files: dict[str, list[Path]] = {}
        self._others: list[Path] = []
        for folder in folders:
            self._collect(folder, without)
        for path in beside:
            self._add(path.stem, path)

    def _collect(self, folder: Path, without: Collection[Path]) -> None:
        for path in entries(folder):
            if not path.is_dir():
                self._add(path.stem, path)
            elif path in without:
                continue
            elif any(other.is_relative_to(path) for other in without):
                self._collect(path, without)
            else:
                for mask in entries(path):
                    self._add(path.name, mask)

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
            owners = by_stem.get(stem) or by_stem.get(owner(stem) or "") or []
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
