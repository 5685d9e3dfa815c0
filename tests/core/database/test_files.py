"""What lies in the places of a database's files is looked at before any of it is opened, and while it is open."""

from __future__ import annotations

import fcntl
import os
import shutil
import socket
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from core.database.database import DatabaseError, migrations, open_database, read_database
from core.database.files import SIDE_FILES, is_there, side_file

SETS = [migrations("parts", "CREATE TABLE parts (id INTEGER PRIMARY KEY, name TEXT NOT NULL) STRICT")]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "state.db"


def write(path: Path, *names: str) -> None:
    with open_database(path, SETS) as database, database.transaction():
        database.tables.table("parts").insert_all({"name": name} for name in names)


def read(path: Path) -> list[str]:
    with read_database(path, SETS, pages=True) as database:
        return [name for (name,) in database.tables.execute("SELECT name FROM parts ORDER BY id")]


def put_socket(place: Path) -> None:
    with closing(socket.socket(socket.AF_UNIX)) as made:
        made.bind(str(place))


KINDS: dict[str, Callable[[Path], None]] = {
    "a pipe": os.mkfifo,
    "a folder": lambda place: place.mkdir(),
    "a socket": put_socket,
    "a device": lambda place: place.symlink_to("/dev/zero"),
    "is a link to": lambda place: place.symlink_to(place.parent / "nowhere"),
}


@pytest.mark.timeout(20)
@pytest.mark.parametrize("end", ["", *SIDE_FILES])
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_no_file_is_refused_and_never_waited_for(path: Path, kind: str, end: str) -> None:
    write(path, "kept")
    place = side_file(path, end)
    if place.exists():
        place.rename(path.with_name("moved"))
    KINDS[kind](place)
    for opened in (lambda: open_database(path, SETS), lambda: read(path), lambda: is_there(path)):
        with pytest.raises(DatabaseError, match=f"database {place}: .*{kind}.*bring a backup back"):
            opened()
    assert os.path.lexists(place)


@pytest.mark.parametrize("content", [b"", b"x" * 5000])
def test_a_lost_file_does_not_take_its_wal_along(path: Path, content: bytes) -> None:
    database = open_database(path, SETS)
    with database.transaction():
        database.tables.table("parts").insert({"name": "only in the WAL"})
    wal = side_file(path, "-wal")
    kept = wal.read_bytes()
    database.close()
    wal.write_bytes(kept)
    path.write_bytes(content)
    with pytest.raises(DatabaseError, match=r"is empty|file is not a database"):
        open_database(path, SETS)
    assert (path.read_bytes(), wal.read_bytes()) == (content, kept)


def test_the_wal_of_another_file_is_not_mixed_into_a_backup(path: Path, tmp_path: Path) -> None:
    write(path, "old")
    backup, killed = tmp_path / "backup.db", tmp_path / "killed"
    with open_database(path, SETS) as database:
        database.backup(backup)
        with database.transaction():
            database.tables.table("parts").insert({"name": "new"})
        shutil.copytree(path.parent, killed)  # as a kill leaves it
    shutil.copy(backup, killed / path.name)
    wal = killed / f"{path.name}-wal"
    for opened in (lambda: open_database(killed / path.name, SETS), lambda: read(killed / path.name)):
        with pytest.raises(DatabaseError, match=f"{wal.name} beside it is of another file.*move {wal} elsewhere"):
            opened()
    assert wal.stat().st_size
    wal.unlink()
    (killed / f"{path.name}-shm").unlink()
    assert read(killed / path.name) == ["old"]
    (killed / f"{path.name}-journal").write_bytes(b"x" * 600)
    with pytest.raises(DatabaseError, match=r"state\.db-journal beside it is of another file"):
        open_database(killed / path.name, SETS)


def test_the_wal_of_a_killed_process_is_its_own(path: Path, tmp_path: Path) -> None:
    killed = tmp_path / "killed"
    with open_database(path, SETS) as database:
        with database.transaction():
            database.tables.table("parts").insert({"name": "only in the WAL"})
        shutil.copytree(path.parent, killed)
    assert read(killed / path.name) == ["only in the WAL"]
    open_database(killed / path.name, SETS).close()
    assert read(killed / path.name) == ["only in the WAL"]


def moved(path: Path) -> None:
    path.rename(path.with_name("moved"))


def replaced(path: Path) -> None:
    copy = path.with_name("copy")
    shutil.copy(path, copy)
    copy.replace(path)


def overwritten(path: Path) -> None:
    """As `cp` of a backup does it: the file stays the same, and its content does not."""
    with closing(sqlite3.connect(":memory:")) as other:
        other.execute("CREATE TABLE t (data)")
        other.execute("INSERT INTO t VALUES (zeroblob(1000000))")
        other.commit()
        path.write_bytes(other.serialize() if hasattr(other, "serialize") else b"SQLite format 3\0" + bytes(1_000_000))


@contextmanager
def opened(path: Path) -> Iterator[Callable[[], str | None]]:
    with open_database(path, SETS) as database:
        with database.transaction():
            database.tables.table("parts").insert({"name": "kept"})
        yield database.displaced


@pytest.mark.parametrize(
    ("end", "strike", "message"),
    [
        ("", Path.unlink, "was deleted or moved away while it was open: put it back"),
        ("", moved, "was deleted or moved away"),
        ("", replaced, "was replaced by another file"),
        ("", overwritten, "was overwritten or cut short"),
        ("", lambda path: os.truncate(path, 0), "was overwritten or cut short"),
        ("", lambda path: os.truncate(path, 4096), "was overwritten or cut short"),
        ("-wal", Path.unlink, "was deleted or moved away while it was open: stop the service, which saves what it has"),
        ("-wal", replaced, "was replaced by another file"),
        ("-shm", Path.unlink, "was deleted or moved away"),
    ],
)
def test_an_open_database_notices_what_becomes_of_its_files(
    path: Path, end: str, strike: Callable[[Path], None], message: str
) -> None:
    with opened(path) as displaced:
        assert displaced() is None
        strike(side_file(path, end))
        said = displaced()
        assert said is not None
        assert f"database {side_file(path, end)} {message}" in said


def test_what_was_moved_away_can_be_put_back(path: Path) -> None:
    with open_database(path, SETS) as database:
        path.rename(path.with_name("moved"))
        for use in (database.reader, lambda: database.backup(path.with_name("copy.db"))):
            with pytest.raises(DatabaseError, match="was deleted or moved away"):
                use()
        path.with_name("moved").rename(path)
        assert database.displaced() is None
        database.reader().close()
        for number in range(60):  # it grows, and SQLite moves its WAL into it: that is no displacement
            with database.transaction():
                database.tables.table("parts").insert({"name": f"{number} {'x' * 100_000}"})
        assert path.stat().st_size > 2_000_000
        assert database.displaced() is None


@pytest.mark.parametrize("strike", [Path.unlink, moved, lambda path: [file.unlink() for file in path.parent.iterdir()]])
def test_what_was_deleted_is_written_back_at_the_end(path: Path, strike: Callable[[Path], object]) -> None:
    with open_database(path, SETS) as database:
        with database.transaction():
            database.tables.table("parts").insert({"name": "kept"})
        assert not database.write_back()
        strike(path)
        assert database.write_back()
        assert not database.write_back()
    assert read(path) == ["kept"]
    open_database(path, SETS).close()
    assert read(path) == ["kept"]


def test_what_was_replaced_is_not_written_over(path: Path) -> None:
    with open_database(path, SETS) as database:
        replaced(path)
        before = path.read_bytes()
        assert not database.write_back()
    assert path.read_bytes() == before


def test_a_wal_that_was_deleted_costs_nothing_where_the_database_is_closed(path: Path) -> None:
    with open_database(path, SETS) as database:
        with database.transaction():
            database.tables.table("parts").insert({"name": "kept"})
        side_file(path, "-wal").unlink()
    assert read(path) == ["kept"]


def test_a_file_that_this_user_cannot_read_is_named(path: Path) -> None:
    write(path, "kept")
    path.chmod(0)
    if os.geteuid() == 0:
        path.parent.chmod(0o755)
        for folder in path.parents[1:3]:
            folder.chmod(0o755)
        os.seteuid(65534)
    try:
        with pytest.raises(DatabaseError, match=f"database {path}: .*check the folder, its owner"):
            open_database(path, SETS)
    finally:
        os.seteuid(os.getuid())


def test_a_folder_that_another_program_holds_is_not_waited_for_for_ever(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("core.database.database._BUSY", 0.1)
    path.parent.mkdir()
    descriptor = os.open(path.parent, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        with pytest.raises(DatabaseError, match=f"another program holds the folder {path.parent}"):
            open_database(path, SETS)
    finally:
        os.close(descriptor)
