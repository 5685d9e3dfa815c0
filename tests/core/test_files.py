"""A file is there whole or not at all, with the mode that the user's mask gives, and no draft stays behind."""

from __future__ import annotations

import multiprocessing
import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from core.files import finished_name, remove_drafts, replacing, write


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("sync", [False, True])
def test_a_file_is_written_and_replaced(tmp_path: Path, sync: bool) -> None:
    path = tmp_path / "verdicts.csv"
    for data in (b"old", b"new"):
        write(path, data, sync=sync)
        assert path.read_bytes() == data
    assert names(tmp_path) == ["verdicts.csv"]


def test_until_the_end_the_old_file_is_there(tmp_path: Path) -> None:
    path = tmp_path / "pack.toml"
    path.write_bytes(b"old")
    with replacing(path) as draft:
        draft.write_bytes(b"new")
        assert path.read_bytes() == b"old"
        assert draft.parent == tmp_path
    assert path.read_bytes() == b"new"


def test_after_an_exception_the_old_file_stays_and_the_draft_goes(tmp_path: Path) -> None:
    path = tmp_path / "pack.toml"
    path.write_bytes(b"old")

    def interrupted() -> None:
        with replacing(path) as draft:
            draft.write_bytes(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["pack.toml"]


def test_a_writer_that_replaces_the_draft_itself_is_understood(tmp_path: Path) -> None:
    path = tmp_path / "tensors.safetensors"
    with replacing(path) as draft:
        other = tmp_path / "other"
        other.write_bytes(b"new")
        other.replace(draft)  # as safetensors does
    assert path.read_bytes() == b"new"
    assert names(tmp_path) == [path.name]


def test_a_draft_that_its_writer_took_away_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "pack.toml"
    path.write_bytes(b"old")
    with pytest.raises(FileNotFoundError), replacing(path) as draft:
        draft.unlink()
    assert path.read_bytes() == b"old"


def test_a_folder_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        write(tmp_path / "none" / "file", b"data")


def test_a_folder_in_the_place_stays_and_the_draft_goes(tmp_path: Path) -> None:
    (tmp_path / "place").mkdir()
    with pytest.raises(IsADirectoryError):
        write(tmp_path / "place", b"data")
    assert names(tmp_path) == ["place"]


@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o027, 0o640), (0o077, 0o600)])
def test_the_mode_follows_the_mask(tmp_path: Path, mask: int, mode: int) -> None:
    path = tmp_path / "file"
    code = "import os, sys, core.files; os.umask(int(sys.argv[1])); core.files.write(core.files.Path(sys.argv[2]), b'')"
    subprocess.run([sys.executable, "-c", code, str(mask), path], check=True, timeout=60)
    assert stat.S_IMODE(path.stat().st_mode) == mode


def _write_often(path: Path, byte: bytes) -> None:
    while True:
        write(path, byte * 1_000_000)


def test_a_reader_beside_two_writers_that_are_killed_sees_whole_files_only(tmp_path: Path) -> None:
    path = tmp_path / "file"
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_write_often, args=(path, byte), daemon=True) for byte in (b"a", b"b")]
    for writer in writers:
        writer.start()
    end = time.monotonic() + 60
    while not path.exists():
        assert time.monotonic() < end
    seen = set()
    for _ in range(200):
        data = path.read_bytes()
        assert len(data) == 1_000_000
        assert len(set(data)) == 1
        seen.add(data[:1])
    for writer in writers:
        assert writer.pid is not None
        os.kill(writer.pid, signal.SIGKILL)
        writer.join(10)
    assert len(path.read_bytes()) == 1_000_000
    assert {finished_name(name) for name in names(tmp_path) if name != "file"} <= {"file"}, "drafts at most"


def test_drafts_of_killed_processes_are_removed_and_nothing_else(tmp_path: Path) -> None:
    old = time.time() - 7200
    for name, stamp in {
        ".a.json.12345678.part": old,
        ".b.json.abcdefgh.part": old,
        ".a.json.new_new_.part": time.time(),
        ".ViT-B.part": old,
        "a.json.part": old,
        "a.json": old,
    }.items():
        (tmp_path / name).write_bytes(b"x")
        os.utime(tmp_path / name, (stamp, stamp))
    remove_drafts(tmp_path, "a.json")
    assert ".a.json.12345678.part" not in names(tmp_path)
    assert len(names(tmp_path)) == 5
    remove_drafts(tmp_path)
    assert names(tmp_path) == sorted([".a.json.new_new_.part", ".ViT-B.part", "a.json.part", "a.json"])
    remove_drafts(tmp_path / "none")


def test_a_draft_is_known_by_its_name(tmp_path: Path) -> None:
    with replacing(tmp_path / "00000001-x.picture.jpg") as draft:
        assert finished_name(draft.name) == "00000001-x.picture.jpg"
    assert finished_name("00000001-x.picture.jpg.part") is None
    assert finished_name("file") is None
