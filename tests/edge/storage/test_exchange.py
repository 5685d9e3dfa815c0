"""New files take the places of the old ones: all of them or none, wherever it is cut short."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from core.database.database import DatabaseError
from edge.storage.exchange import exchange_draft, finish_exchange, set_aside
from tests.support.killed import KILLED, killed_before

OLD = {
    "state.db": "old",
    "state.db-wal": "old",
    "state.db-shm": "old",
    "verdicts.db": "old",
    "verdicts.db-journal": "old",
}
NEW = {"state.db": "new", "verdicts.db": "new"}


def made(folder: Path) -> Path:
    folder.mkdir()
    for name, text in OLD.items():
        (folder / name).write_text(text)
    return folder


def files(folder: Path) -> dict[str, str]:
    return {one.name: one.read_text() for one in folder.iterdir() if one.is_file()}


def exchange(folder: Path) -> list[Path]:
    with exchange_draft(folder) as draft:
        for name, text in NEW.items():
            (draft / name).write_text(text)
    return finish_exchange(folder)


def test_the_new_files_are_there_and_the_old_ones_are_kept(tmp_path: Path) -> None:
    folder = made(tmp_path / "state")
    [kept] = exchange(folder)
    assert (files(folder), files(kept)) == (NEW, OLD)
    assert finish_exchange(folder) == []
    assert (files(folder), files(kept)) == (NEW, OLD)
    (tmp_path / "new").mkdir()
    assert exchange(tmp_path / "new") == []
    assert files(tmp_path / "new") == NEW
    assert [one.name for one in (tmp_path / "new").iterdir() if one.is_dir()] == []


def test_wherever_it_is_killed_there_are_the_old_files_or_the_new(tmp_path: Path) -> None:
    whole = made(tmp_path / "whole")
    count = killed_before(100, lambda: exchange(whole))
    assert 10 < count < 100
    found = []
    for step in range(count):
        folder = made(tmp_path / f"{step}")
        assert killed_before(step, lambda folder=folder: exchange(folder)) == KILLED
        if step % 4 == 0:  # and again as it is finished
            killed_before(step // 4, lambda folder=folder: finish_exchange(folder))
        finish_exchange(folder)
        found.append(files(folder))
        kept_files = [files(one) for one in folder.iterdir() if one.is_dir()]
        assert kept_files == ([OLD] if found[-1] == NEW else [])
    assert found == [OLD] * found.count(OLD) + [NEW] * found.count(NEW)
    assert found.count(OLD) >= 4
    assert found.count(NEW) >= 4


def test_one_that_fails_changes_nothing(tmp_path: Path) -> None:
    folder = made(tmp_path / "state")

    def fail() -> None:
        with exchange_draft(folder) as draft:
            (draft / "state.db").write_text("new")
            raise OSError("full")

    with pytest.raises(OSError, match="full"):
        fail()
    assert finish_exchange(folder) == []
    assert files(folder) == OLD
    assert sorted(one.name for one in folder.iterdir()) == sorted(OLD)


def test_whatever_is_in_the_place_is_set_aside(tmp_path: Path) -> None:
    folder = made(tmp_path / "state")
    (folder / "verdicts.db").unlink()
    os.mkfifo(folder / "verdicts.db")
    kept = set_aside(folder, "verdicts.db")
    assert kept is not None
    assert sorted(one.name for one in kept.iterdir()) == ["verdicts.db", "verdicts.db-journal"]
    assert set_aside(folder, "verdicts.db") is None
    with pytest.raises(DatabaseError, match="cannot be moved"):
        set_aside(tmp_path / "nowhere", "verdicts.db")
