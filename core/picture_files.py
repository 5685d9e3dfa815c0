"""Which files of a folder are pictures: one answer for all that reads folders.

No pictures, whatever they are called, are hidden files, what file managers and systems leave behind (a Mac's `._a.png`
beside `a.png`), and what `score --heatmaps` wrote: a folder may hold the heatmaps of its own pictures.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from core.image import SUFFIXES, ImageError

HEATMAP = ".heatmap.png"
"""How the name of a heatmap ends that was written beside its picture's overlay."""
OVERLAY = ".overlay.jpg"

_LITTER = frozenset(
    {
        "$recycle.bin",
        "#recycle",
        "@eadir",
        "__macosx",
        "desktop.ini",
        "ehthumbs.db",
        "icon\r",
        "lost+found",
        "network trash folder",
        "system volume information",
        "temporary items",
        "thumbs.db",
    }
)


def is_litter(name: str) -> bool:
    """Whether a file or folder of this name is hidden or left behind by a system, and nobody's data."""
    return name.startswith((".", "~$")) or name.lower() in _LITTER


def is_called_picture(name: str) -> bool:
    """Whether a file of this name is one."""
    return (
        Path(name).suffix.lower() in SUFFIXES and not is_litter(name) and not name.lower().endswith((HEATMAP, OVERLAY))
    )


def is_picture(path: Path) -> bool:
    """By its name and, a folder is none, by what it is; a dangling link counts, so that reading it fails aloud."""
    return is_called_picture(path.name) and not path.is_dir()


def entries(folder: Path) -> list[Path]:
    """What is in `folder`, sorted, without litter.

    Raises:
        OSError: it cannot be listed.
    """
    return sorted(path for path in folder.iterdir() if not is_litter(path.name))


def pictures_in(folder: Path) -> list[Path]:
    """The pictures directly in `folder`, sorted.

    Raises:
        OSError: it cannot be listed.
    """
    with os.scandir(folder) as found:  # says what is a folder without asking a share for each of thousands of files
        return sorted(folder / entry.name for entry in found if is_called_picture(entry.name) and not entry.is_dir())


def pictures_below(folder: Path) -> list[Path]:
    """The pictures in `folder` and its subfolders, sorted; links to folders are not followed.

    Raises:
        OSError: a folder cannot be listed.
    """
    found: list[Path] = []
    for top, folders, files in os.walk(folder, onerror=_raise):
        folders[:] = [name for name in folders if not is_litter(name)]
        found += [Path(top, name) for name in files if is_called_picture(name)]
    return sorted(found)


def pictures_of(paths: Sequence[Path]) -> list[Path]:
    """The files of `paths` as they are, and in place of each folder the pictures below it.

    Raises:
        FileNotFoundError: a path is not there, or a folder without a picture.
        ImageError: a folder cannot be listed.
    """
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            try:
                inside = pictures_below(path)
            except OSError as error:
                raise ImageError(f"{error.filename}: {error.strerror}; a folder that can be read is needed") from error
            if not inside:
                raise FileNotFoundError(no_pictures(path))
            found += inside
        elif path.exists():
            found.append(path)
        else:
            raise FileNotFoundError(f"{path}: no such file or folder")
    return found


def no_pictures(folder: Path) -> str:
    """What to say of a folder without pictures."""
    return f"{folder}: no pictures in this folder (looked for {', '.join(sorted(SUFFIXES))})"


def _raise(error: OSError) -> None:
    raise error
