"""A backup goes to a new or empty folder only, is private and whole, and says what it brings."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from core.database.database import DatabaseError
from edge.storage.backup import BackupError, read_backup, write_backup
from edge.storage.line_number import LineNumber
from tests.support.state import STATE, VERDICTS, OpenState, change, open_state, rows


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenState]:
    """A state in use."""
    with open_state(tmp_path_factory.mktemp("in use") / "state") as state:
        state.issue(3)
        yield state


@pytest.fixture(scope="module")
def backups(state: OpenState, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two of them."""
    folder = tmp_path_factory.mktemp("backups")
    return [backup(state, folder / name) for name in ("one", "two")]


def backup(state: OpenState, folder: Path) -> Path:
    write_backup(folder, state.settings, state.history)
    return folder


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def content(folder: Path) -> dict[str, bytes | None]:
    return {one.name: one.read_bytes() if one.is_file() else None for one in folder.iterdir()}


@pytest.mark.parametrize("made", [False, True])
def test_it_is_private_whole_and_says_what_it_brings(state: OpenState, tmp_path: Path, made: bool) -> None:
    folder = tmp_path / "on" / "a disk"
    if made:
        folder.mkdir(parents=True, mode=0o755)
    last = state.outbox.last_seq("one")
    written = write_backup(folder, state.settings, state.history)
    state.issue(2)
    assert written == read_backup(folder)
    [(identity,)] = rows(state.folder / STATE, "SELECT value FROM facts WHERE name = 'installation'")
    assert (written.installation, written.lines) == (identity, {"one": LineNumber(1, last)})
    assert (written.verdicts, written.waiting, written.shots) == (last, last, 0)
    assert written.copied_at is not None
    assert sorted(one.name for one in folder.iterdir()) == [STATE, VERDICTS]
    assert (mode(folder), mode(folder / STATE), mode(folder / VERDICTS)) == (0o700, 0o600, 0o600)


def locked(folder: Path) -> Path:
    folder.mkdir()
    (folder / "state.lock").touch()
    return folder


def with_database(folder: Path) -> Path:
    folder.mkdir()
    (folder / "other.db").write_bytes(b"SQLite format 3\0")
    return folder


def linked(folder: Path) -> Path:
    """A link into the state."""
    (folder.parent / "state" / "empty").mkdir(exist_ok=True)
    folder.symlink_to(folder.parent / "state" / "empty")
    return folder


def looped(folder: Path) -> Path:
    folder.symlink_to(folder)
    return folder


def piped(folder: Path) -> Path:
    os.mkfifo(folder)
    return folder


def dangling(folder: Path) -> Path:
    folder.symlink_to(folder.parent / "nowhere")
    return folder


def of_a_file(folder: Path) -> Path:
    folder.write_text("a file")
    return folder / "below"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda folder: folder.parent / "state", "is in the folder of the state"),
        (lambda folder: folder.parent / "state" / "backups" / "1", "is in the folder of the state"),
        (lambda folder: folder.parent / "state" / ".." / "state" / "x", "is in the folder of the state"),
        (linked, "is in the folder of the state"),
        (locked, r"is not empty \(state\.lock\), and nothing there is overwritten; name a new or empty folder"),
        (with_database, r"is not empty \(other\.db\)"),
        (lambda folder: folder.parent, "is not empty"),
        (piped, "is no folder"),
        (looped, "name a folder that the service can write"),
        (dangling, "name a folder that the service can write"),
        (of_a_file, "name a folder that the service can write"),
        (lambda folder: Path("/proc/none/backup"), "name a folder that the service can write"),
    ],
)
@pytest.mark.timeout(20)
def test_nothing_is_overwritten(state: OpenState, tmp_path: Path, make: Callable[[Path], Path], message: str) -> None:
    (tmp_path / "state").symlink_to(state.folder)
    folder = make(tmp_path / "backup")
    before = content(folder) if folder.is_dir() else None
    with pytest.raises(BackupError, match=message):
        backup(state, folder)
    assert (content(folder) if folder.is_dir() else None) == before


def test_a_second_one_does_not_take_the_place_of_the_first(state: OpenState, tmp_path: Path) -> None:
    folder = backup(state, tmp_path / "backup")
    before = content(folder)
    with pytest.raises(BackupError, match="is not empty"):
        backup(state, folder)
    assert content(folder) == before


def test_one_that_fails_leaves_nothing(state: OpenState, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sync = os.fsync
    count = 0

    def full(descriptor: int) -> None:
        nonlocal count
        count += 1
        if count >= 3:  # `state.db` is there, its folder is synced; `verdicts.db` does not fit
            raise OSError(28, "No space left on device")
        sync(descriptor)

    (tmp_path / "empty").mkdir()
    for folder in (tmp_path / "new", tmp_path / "empty"):
        count = 0
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", full)
            with pytest.raises(DatabaseError, match="No space left"):
                backup(state, folder)
    assert not (tmp_path / "new").exists()
    assert content(tmp_path / "empty") == {}


def test_a_lost_database_is_not_backed_up(state: OpenState, tmp_path: Path) -> None:
    (state.folder / STATE).rename(tmp_path / "moved")
    with pytest.raises(DatabaseError, match=r"state\.db was deleted or moved away"):
        backup(state, tmp_path / "backup")
    (tmp_path / "moved").rename(state.folder / STATE)
    assert not (tmp_path / "backup").exists()


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[4096:8192] = bytes(4096)
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("strike", "message"),
    [
        (lambda one, two: (one / VERDICTS).unlink(), r"is half a backup: verdicts\.db is not there"),
        (lambda one, two: (one / STATE).unlink(), r"is half a backup: state\.db is not there"),
        (shutil.rmtree, "is no backup: state.db and verdicts.db is not there"),
        (lambda one, two: shutil.copy(two / VERDICTS, one), "are not of one backup"),
        (lambda one, two: flip(one / VERDICTS), "damaged|malformed"),
        (lambda one, two: flip(one / STATE), "damaged|malformed"),
        (lambda one, two: os.truncate(one / VERDICTS, 10_000), "malformed|damaged"),
        (lambda one, two: (one / STATE).write_bytes(b""), "is empty"),
        (
            lambda one, two: change(
                one / STATE, "INSERT INTO _sqlite_migrations (migration_set, name) VALUES ('state', '0099')"
            ),
            "was written by a newer version",
        ),
        (
            lambda one, two: change(one / VERDICTS, "CREATE TRIGGER t AFTER INSERT ON lines BEGIN SELECT 1; END"),
            "trigger t",
        ),
        (lambda one, two: change(one / VERDICTS, "DELETE FROM facts WHERE name = 'installation'"), "not of one backup"),
    ],
)
def test_what_is_no_whole_backup_is_named(
    backups: list[Path], tmp_path: Path, strike: Callable[[Path, Path], object], message: str
) -> None:
    one, two = (Path(shutil.copytree(folder, tmp_path / folder.name)) for folder in backups)
    if strike is shutil.rmtree:
        shutil.rmtree(one)
    else:
        strike(one, two)
    with pytest.raises((BackupError, DatabaseError), match=message):
        read_backup(one)
