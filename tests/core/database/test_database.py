"""A database is whole and ours, or it is refused and left as it is."""

import hashlib
import os
import sqlite3
import stat
import threading
from pathlib import Path

import pytest
import sqlite_utils
from sqlite_utils import Migrations

from core.database.database import Database, DatabaseError, migrations, open_database
from tests.support.disk import NoDiskError, SmallDisk

PARTS = "CREATE TABLE parts (id INTEGER PRIMARY KEY, name TEXT NOT NULL, data BLOB) STRICT"
ONE = [migrations("parts", PARTS)]
SEEN = "ALTER TABLE parts ADD COLUMN seen INTEGER; CREATE INDEX names ON parts (name)"
TWO = [migrations("parts", PARTS, SEEN)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "state.db"


def fill(path: Path, count: int = 50) -> None:
    with open_database(path, ONE) as database, database.transaction():
        rows = ({"name": f"part {number}", "data": os.urandom(3000)} for number in range(count))
        database.tables.table("parts").insert_all(rows)


def names(database: Database) -> list[str]:
    with database.snapshot():
        return [row["name"] for row in database.tables.query("SELECT name FROM parts ORDER BY id")]


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_new_database_is_as_the_house_wants_it(path: Path) -> None:
    with open_database(path, ONE) as database:
        wanted = {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "busy_timeout": 10_000}
        assert {name: database.tables.execute(f"PRAGMA {name}").fetchone()[0] for name in wanted} == wanted
        assert [(one.name, one.applied_at != "") for one in ONE[0].applied(database.tables)] == [("0001", True)]
        assert all(table.strict for table in database.tables.tables)
        with pytest.raises(sqlite3.IntegrityError, match=r"TEXT value in|datatype mismatch"):
            database.tables.execute("INSERT INTO parts (id, name) VALUES ('x', 'y')")
    assert sorted(one.name for one in path.parent.iterdir()) == ["state.db"]


def test_a_transaction_is_whole_or_nothing_and_may_have_parts(path: Path) -> None:
    with open_database(path, ONE) as database:
        parts = database.tables.table("parts")
        with pytest.raises(sqlite3.IntegrityError), database.transaction():
            parts.insert({"name": "lost"}).insert({"name": None})
        with database.transaction():
            parts.insert({"name": "kept"})
            with pytest.raises(sqlite3.IntegrityError), database.transaction():
                parts.insert({"name": "lost too"}).insert({"name": None})
        assert names(database) == ["kept"]


def test_later_migrations_are_applied_once_each_in_a_transaction_of_its_own(path: Path) -> None:
    fill(path, 3)
    with open_database(path, TWO) as database:
        assert "seen" in database.tables.table("parts").columns_dict
        assert len(names(database)) == 3
    open_database(path, TWO).close()
    before = digest(path)
    broken = [
        migrations("parts", PARTS, SEEN, "CREATE TABLE more (id INTEGER) STRICT; CREATE TABLE parts (id INTEGER)")
    ]
    with pytest.raises(sqlite3.OperationalError, match="already exists"):
        open_database(path, broken)
    with open_database(path, TWO) as database:
        assert "more" not in database.tables.table_names()
    assert digest(path) == before


def test_a_database_of_a_newer_version_is_refused_and_left_alone(path: Path) -> None:
    open_database(path, TWO).close()
    before = digest(path)
    with pytest.raises(DatabaseError, match=r"newer version \(migrations parts/0002\).*update.*bring a backup back"):
        open_database(path, ONE)
    other = Migrations("other")
    with pytest.raises(DatabaseError, match=r"parts/0001, parts/0002"):
        open_database(path, [other])
    assert digest(path) == before


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda data: b"", "is none of ours: it is empty"),
        (lambda data: b"Dear reader, this is no database. " * 200, "file is not a database"),
        (lambda data: data[: len(data) // 2], "malformed"),
        (lambda data: data[:7], "file is not a database"),
        (lambda data: data[:4096] + bytes(4096) + data[8192:], "damaged|malformed"),
        (lambda data: data[: len(data) - 2 * 4096] + b"\xff" * 8192, "damaged|malformed"),
    ],
)
def test_a_file_that_is_damaged_is_refused_and_left_alone(path: Path, damage: object, message: str) -> None:
    fill(path)
    path.write_bytes(damage(path.read_bytes()))  # type: ignore[operator]
    before = digest(path)
    with pytest.raises(DatabaseError, match=message) as caught:
        open_database(path, ONE)
    assert str(path) in str(caught.value)
    assert "bring a backup back" in str(caught.value)
    assert digest(path) == before


def test_another_programs_database_is_refused(path: Path) -> None:
    path.parent.mkdir()
    other = sqlite_utils.Database(path)
    other.table("notes").insert({"id": 1})
    other.close()
    with pytest.raises(DatabaseError, match=r"none of ours: it holds the tables notes; name another file"):
        open_database(path, ONE)


def test_a_wal_without_its_database_is_not_given_to_a_new_one(path: Path) -> None:
    with open_database(path, ONE) as database:
        with database.transaction():
            database.tables.table("parts").insert({"name": "only in the WAL"})
        held = path.with_name("held")
        path.rename(held)
        with pytest.raises(DatabaseError, match=r"state\.db-wal holds changes of a database that is not here"):
            open_database(path, ONE)
        held.rename(path)
    with open_database(path, ONE) as database:
        assert names(database) == ["only in the WAL"]


def test_what_cannot_be_opened_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path, tmp_path / "file" / "state.db", Path("/proc/none/state.db")):
        with pytest.raises(DatabaseError, match=f"database {path}: .*check"):
            open_database(path, ONE)
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 31, 1))
    with pytest.raises(DatabaseError, match=r"has no STRICT tables; use a Python with 3\.37"):
        open_database(tmp_path / "old.db", ONE)


def test_a_full_disk_a_second_writer_and_a_reader_that_writes_are_named(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("core.database.database._BUSY", 0.05)
    with open_database(path, ONE) as database, open_database(path, ONE) as second:
        database.tables.execute("PRAGMA max_page_count = 20")  # as a disk that is full answers
        with pytest.raises(DatabaseError, match="is full; make room"), database.transaction():
            database.tables.table("parts").insert({"name": "large", "data": bytes(1_000_000)})
        with database.transaction():
            database.tables.table("parts").insert({"name": "small"})
            with pytest.raises(DatabaseError, match="is locked; another program writes"), second.transaction():
                pass
        with database.reader() as reader:
            assert names(reader) == ["small"]
            with pytest.raises(DatabaseError, match="can only be read"), reader.transaction():
                reader.tables.table("parts").insert({"name": "no"})


def test_a_connection_is_of_its_thread_and_a_reader_of_any(path: Path) -> None:
    found: list[object] = []

    def use(database: Database) -> None:
        try:
            names(database)
        except sqlite3.ProgrammingError as error:
            found.append(str(error))
        with database.reader() as reader:
            found.append(names(reader))

    with open_database(path, ONE) as database:
        thread = threading.Thread(target=use, args=[database])
        thread.start()
        thread.join()
    assert "thread" in str(found[0])
    assert found[1] == []


def test_a_snapshot_sees_one_moment(path: Path) -> None:
    with open_database(path, ONE) as database, database.reader() as reader, reader.snapshot():
        assert names(reader) == []
        with database.transaction():
            database.tables.table("parts").insert({"name": "later"})
        assert names(reader) == []


def test_a_backup_is_one_whole_private_file_and_overwrites_nothing(path: Path, tmp_path: Path) -> None:
    fill(path, 5)
    target, link = tmp_path / "backups" / "state.db", tmp_path / "link.db"
    link.symlink_to(tmp_path / "nowhere")
    with open_database(path, ONE) as database:
        database.backup(target)
        before, wanted = digest(target), names(database)
        with database.transaction():
            database.tables.table("parts").insert({"name": "after"})
        for there in (target, path, link):
            with pytest.raises(DatabaseError, match=f"{there}: there is such a file already, which is not overwritten"):
                database.backup(there)
    assert (digest(target), stat.S_IMODE(target.stat().st_mode)) == (before, 0o600)
    assert [one.name for one in target.parent.iterdir()] == ["state.db"]
    restored = tmp_path / "restored.db"
    restored.write_bytes(target.read_bytes())
    with open_database(restored, ONE) as database:
        assert names(database) == wanted
        assert database.tables.journal_mode == "wal"


def test_a_backup_that_fails_leaves_nothing(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(path, 5)
    target = tmp_path / "backups" / "state.db"
    with open_database(path, ONE) as database:

        def full(descriptor: int) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(DatabaseError, match=f"backup of {path} to {target}: .*No space left"):
            database.backup(target)
    assert list(target.parent.iterdir()) == []


def test_what_a_killed_process_left_is_cleared_away(path: Path) -> None:
    path.parent.mkdir()
    for name in (".state.db.part", ".state.db.part-journal"):
        (path.parent / name).write_bytes(b"half a database")
    open_database(path, ONE).close()
    assert [one.name for one in path.parent.iterdir()] == ["state.db"]


def test_a_disk_that_is_full_as_it_opens_is_called_full(tmp_path: Path) -> None:
    """SQLite calls it an I/O error, as if the disk were faulty."""
    try:
        with SmallDisk(tmp_path / "disk") as disk:
            path = disk.folder / "state.db"
            open_database(path, ONE).close()
            disk.fill()
            with pytest.raises(DatabaseError, match=r"state\.db: .*disk is full.*; make room on its disk"):
                open_database(path, ONE)
            disk.clear()
            open_database(path, ONE).close()
    except NoDiskError as error:
        pytest.skip(str(error))
