"""A backup takes the place of a state whole or not at all; what it replaces is kept, and no number is given twice."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.database.database import DatabaseError
from edge.ops.lock import STATE_LOCK
from edge.storage.backup import BackupError, write_backup
from edge.storage.exchange import _give_to_owner
from edge.storage.installation import SETTINGS, VERDICTS, check_installation
from edge.storage.restore import check_backup, go_on_without, look_at_state, restore_state
from tests.support.disk import NoDiskError, SmallDisk
from tests.support.killed import KILLED, killed_before
from tests.support.state import STATE, OpenState, change, killed_copy, open_state, rows

VERDICTS_DB = VERDICTS.file


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `state`, which has eight verdicts, and `backup` of the first five."""
    made = tmp_path_factory.mktemp("made")
    with open_state(made / "state") as state:
        state.issue(5)
        state.settings.run(lambda tables: tables.note("eva", "pause", {}, "done"))
        write_backup(made / "backup", state.settings, state.history)
        state.issue(3)
    return made


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    """A copy of the state; the backup is beside it."""
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    return tmp_path / "state"


def restore(state: Path, backup: Path, **options: bool) -> Path | None:
    present = look_at_state(state)
    return restore_state(backup, state, check_backup(backup, state), present, "eva", **options)


def names(folder: Path) -> list[str]:
    """Without the empty files that SQLite leaves when it has read."""
    return sorted(
        one.name for one in folder.iterdir() if one.is_dir() or (one.suffix != ".db-shm" and one.stat().st_size)
    )


def test_it_brings_back_what_was_copied_and_keeps_what_it_replaces(folder: Path) -> None:
    kept = restore(folder, folder.parent / "backup")
    assert kept is not None
    assert names(folder) == [kept.name, STATE, VERDICTS_DB]
    assert names(kept) == [STATE, VERDICTS_DB]
    assert rows(kept / VERDICTS_DB, "SELECT max(seq) FROM verdicts") == [(8,)]
    assert (stat.S_IMODE(kept.stat().st_mode), stat.S_IMODE((folder / STATE).stat().st_mode)) == (0o700, 0o640)
    with open_state(folder) as state:
        assert [one.seq for one in state.history.verdicts("one")] == [5, 4, 3, 2, 1]
        assert state.issue(2) == [(2, 9), (2, 10)]
        [entry, before] = state.settings.run(lambda tables: tables.audit(9))
        assert (entry["who"], entry["command"], entry["outcome"]) == ("eva", "restore", "done")
        assert str(folder.parent / "backup") in entry["arguments"]
        assert before["command"] == "pause"
        assert state.alarms.of("one") == []


def test_one_backup_brought_back_again_and_again_gives_no_number_twice(folder: Path) -> None:
    given = []
    for _ in range(3):
        restore(folder, folder.parent / "backup")
        with open_state(folder) as state:
            given += state.issue(2)
    assert given == [(2, 9), (2, 10), (3, 11), (3, 12), (4, 13), (4, 14)]


def test_it_is_undone_by_what_it_kept(folder: Path) -> None:
    kept = restore(folder, folder.parent / "backup")
    assert kept is not None
    restore(folder, kept)
    with open_state(folder) as state:
        assert state.history.verdicts("one")[0].seq == 8
        assert state.issue(1) == [(2, 9)]


def test_what_is_wrong_with_the_state_does_not_matter(folder: Path, tmp_path: Path) -> None:
    kinds = {
        "missing": Path.unlink,
        "garbage": lambda path: path.write_bytes(b"x" * 9000),
        "pipe": lambda path: (path.unlink(), os.mkfifo(path)),
        "folder": lambda path: (path.unlink(), path.mkdir()),
        "newer": lambda path: change(path, "INSERT INTO _sqlite_migrations (migration_set, name) VALUES ('x', 'y')"),
    }
    for name, strike in kinds.items():
        for file in (STATE, VERDICTS_DB):
            state = tmp_path / f"{name} {file}"
            shutil.copytree(folder, state)
            strike(state / file)
            present = look_at_state(state)
            assert len(present.unreadable) == 1
            assert present.lines["one"].seq == 8  # the other one knows
    restore(state, tmp_path / "backup")
    assert check_installation(state).numbers["one"].seq == 8
    new = tmp_path / "new box"
    new.mkdir()
    assert restore(new, tmp_path / "backup") is None
    with open_state(new) as opened:
        assert opened.issue(1) == [(2, 6)]


def test_changes_that_another_state_left_are_not_mixed_in(folder: Path, tmp_path: Path) -> None:
    with open_state(folder) as state:
        state.issue(50)
        killed_copy(folder, tmp_path / "killed")
    killed = tmp_path / "killed"
    assert (killed / f"{VERDICTS_DB}-wal").stat().st_size
    kept = restore(killed, tmp_path / "backup")
    assert kept is not None
    assert f"{VERDICTS_DB}-wal" in names(kept)
    assert [one for one in names(killed) if one.startswith("verdicts")] == [VERDICTS_DB]
    with open_state(killed) as opened:
        assert opened.history.verdicts("one")[0].seq == 5
        assert opened.issue(1) == [(2, 59)]


def test_a_backup_of_another_box_takes_a_yes(folder: Path, tmp_path: Path) -> None:
    with open_state(tmp_path / "other") as other:
        other.issue(1)
        write_backup(tmp_path / "of another", other.settings, other.history)
    before = names(folder)
    with pytest.raises(BackupError, match=r"is of another installation than .*; with --yes"):
        restore(folder, tmp_path / "of another")
    assert names(folder) == before
    restore(folder, tmp_path / "of another", other=True)
    with open_state(folder) as state:
        assert state.issue(1) == [(2, 9)]


def test_what_is_no_backup_to_bring_back_changes_nothing(folder: Path, tmp_path: Path) -> None:
    change(tmp_path / "backup" / STATE, "INSERT INTO _sqlite_migrations (migration_set, name) VALUES ('state', '0099')")
    before = names(folder)
    with pytest.raises(DatabaseError, match="newer version"):
        restore(folder, tmp_path / "backup")
    (tmp_path / "link").symlink_to(folder)
    for itself in (folder, tmp_path / "link"):
        with pytest.raises(BackupError, match="is the folder of the state itself"):
            restore(folder, itself)
    with pytest.raises(BackupError, match="is no backup"):
        restore(folder, tmp_path / "none")
    assert names(folder) == before


def outcome(state: Path) -> tuple[int, int, bool]:
    """The last verdict, the last number, and whether the audit has a restore: what tells the new state from the old."""
    check_installation(state)
    last = rows(state / VERDICTS_DB, "SELECT max(seq) FROM verdicts")[0][0]
    restored = rows(state / STATE, "SELECT count(*) FROM audit WHERE command = 'restore'")[0][0]
    return last, len(list(state.glob("replaced-*"))), bool(restored)


def test_a_restore_that_is_killed_leaves_the_old_state_or_the_new(folder: Path, tmp_path: Path) -> None:
    with open_state(folder) as state:
        state.issue(1)
        killed_copy(folder, tmp_path / "killed")

    def restored(step: int) -> tuple[int, tuple[int, int, bool]]:
        state = Path(shutil.copytree(tmp_path / "killed", tmp_path / f"state {step}"))
        return killed_before(step, lambda: restore(state, tmp_path / "backup")), outcome(state)

    count, found = restored(150)
    assert found == (5, 1, True)
    assert [restored(step) for step in (1, count // 2)] == [(KILLED, (9, 0, False))] * 2
    assert restored(count - 2) == (KILLED, (5, 1, True))
    with open_state(tmp_path / f"state {count - 2}") as opened:
        assert opened.issue(1) == [(2, 10)]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    try:
        with SmallDisk(tmp_path / "disk") as disk:
            yield disk
    except NoDiskError as error:
        pytest.skip(str(error))


def test_a_full_disk_leaves_the_old_state(folder: Path, disk: SmallDisk) -> None:
    state = disk.folder / "state"
    shutil.copytree(folder, state)
    disk.fill()
    with pytest.raises(DatabaseError, match=r"make room|No space left"):
        restore(state, folder.parent / "backup")
    assert names(state) == [STATE, VERDICTS_DB]
    disk.clear()
    with open_state(state) as opened:
        assert opened.issue(1) == [(1, 9)]


def test_a_copy_of_a_whole_folder_is_brought_back_from_a_disk_that_takes_nothing(folder: Path, disk: SmallDisk) -> None:
    """Fault: the lock file in it could not be written, and so it was called the state of a running service."""
    shutil.copytree(folder, disk.folder / "copied")
    (disk.folder / "copied" / STATE_LOCK).touch()
    for file in (STATE, VERDICTS_DB):
        with contextlib.closing(sqlite3.connect(disk.folder / "copied" / file)) as database:
            database.execute("PRAGMA journal_mode = DELETE")
    disk.protect()
    restore(folder, disk.folder / "copied")
    assert check_installation(folder).id is not None


@pytest.mark.skipif(os.getuid() != 0, reason="only root gives files away")
def test_whatever_a_link_leads_to_is_not_given_to_the_owner(folder: Path, tmp_path: Path) -> None:
    """Fault: root gave the file to the user of the service, who may put a link into the folder meanwhile."""
    other = tmp_path / "of root"
    other.touch()
    (tmp_path / "link").symlink_to(other)
    os.chown(folder, 4242, 4242)
    _give_to_owner(tmp_path / "link", folder)
    assert other.stat().st_uid == 0
    assert (tmp_path / "link").lstat().st_uid == 4242


@pytest.mark.parametrize("damage", [Path.unlink, lambda path: os.truncate(path, 9000)])
def test_without_a_backup_what_is_left_goes_on(folder: Path, tmp_path: Path, damage: object) -> None:
    for lost, first in ((VERDICTS, (2, 9)), (SETTINGS, (1, 9))):
        state = tmp_path / lost.file
        shutil.copytree(folder, state)
        with pytest.raises(BackupError, match=f"{lost.file} is there, and is not damaged; nothing was done"):
            go_on_without(state, lost, "eva")
        damage(state / lost.file)  # type: ignore[operator]
        with pytest.raises(DatabaseError):
            OpenState(state)
        kept = go_on_without(state, lost, "eva")
        assert kept is not None
        assert (kept / lost.file).exists() == (damage is not Path.unlink)
        with open_state(state) as opened:
            assert opened.issue(1) == [first]
        with open_state(state) as opened:
            assert opened.issue(1) == [(first[0], first[1] + 1)]
        (state / lost.file).unlink()
        with pytest.raises(DatabaseError, match="is lost"):  # it was said of one loss only
            OpenState(state)
