"""Looking into folders: pictures and sub-folders.

Names are compared without regard to case, since archives that went through Windows differ in it. Links are followed.
What `core.picture_files` calls litter is passed over.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
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


def pictures(folder: Path, top: Path, notes: list[str], also: Callable[[Path], bool] = lambda _: False) -> list[Path]:
    """Pictures directly in `folder`, sorted; what else lies there is added to `notes`, named from `top`.

    What `also` accepts belongs there, and is not noted.
    """
    found = entries(folder)
    others = [path for path in found if not is_picture(path) and not also(path)]
    if others:
        notes.append(f"Left out, as no pictures of a kind that is read: {listed(others, top)}.")
    elif not found:
        notes.append(f"{folder.relative_to(top).as_posix()} is empty.")
    return [path for path in found if is_picture(path)]
