"""What a folder's pictures are, whoever asks."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.image import ImageError
from core.picture_files import HEATMAP, OVERLAY, entries, is_litter, pictures_below, pictures_in, pictures_of

LITTER = ("._a.png", ".DS_Store", "Thumbs.db", "ehthumbs.db", "desktop.ini", "~$a.png", ".a.png.Xq3fT1", "Icon\r")


def _write(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"\0")


def test_litter_is_no_picture(tmp_path: Path) -> None:
    _write(tmp_path, "a.png", "deep/b.JPG", "notes.txt", *LITTER)
    _write(tmp_path, "__MACOSX/a.png", "@eaDir/a.png", "deep/.ipynb_checkpoints/b.jpg", "$RECYCLE.BIN/a.png")
    assert all(is_litter(name) for name in LITTER)
    assert pictures_in(tmp_path) == [tmp_path / "a.png"]
    assert pictures_below(tmp_path) == [tmp_path / "a.png", tmp_path / "deep/b.JPG"]
    assert [path.name for path in entries(tmp_path)] == ["a.png", "deep", "notes.txt"]


def test_a_hidden_folder_that_is_named_is_read(tmp_path: Path) -> None:
    _write(tmp_path, ".cache/parts/a.png")
    assert pictures_of([tmp_path / ".cache"]) == [tmp_path / ".cache/parts/a.png"]


def test_what_score_wrote_is_no_picture_unless_it_is_named(tmp_path: Path) -> None:
    _write(tmp_path, "a.png", f"out/parts/a{HEATMAP}", f"out/parts/a{OVERLAY}", "out/parts/a-2.Heatmap.PNG")
    assert pictures_below(tmp_path) == [tmp_path / "a.png"]
    named = tmp_path / f"out/parts/a{OVERLAY}"
    assert pictures_of([named]) == [named]
    with pytest.raises(FileNotFoundError, match=r"out: no pictures in this folder"):
        pictures_of([tmp_path / "out"])


def test_a_folder_called_like_a_picture_and_a_dangling_link(tmp_path: Path) -> None:
    """The folder is none; the link is one, so that reading it fails aloud."""
    _write(tmp_path, "a.png/b.png")
    (tmp_path / "c.png").symlink_to(tmp_path / "away.png")
    assert pictures_in(tmp_path) == [tmp_path / "c.png"]
    assert pictures_below(tmp_path) == [tmp_path / "a.png/b.png", tmp_path / "c.png"]


def test_links_in_a_circle_end(tmp_path: Path) -> None:
    _write(tmp_path, "a.png")
    (tmp_path / "again").symlink_to(tmp_path)
    assert pictures_below(tmp_path) == [tmp_path / "a.png"]


def test_a_folder_that_cannot_be_listed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scandir = os.scandir

    def guarded(folder: str) -> Iterator[os.DirEntry[str]]:  # root, who may run this, reads every folder
        if folder.endswith("shut"):
            raise PermissionError(13, "Permission denied", folder)
        return scandir(folder)

    _write(tmp_path, "a.png", "shut/b.png")
    monkeypatch.setattr(os, "scandir", guarded)
    with pytest.raises(ImageError, match=r"shut: Permission denied; a folder that can be read is needed"):
        pictures_of([tmp_path])


def test_a_path_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"none\.png: no such file or folder"):
        pictures_of([tmp_path / "none.png"])
