"""A database that holds something else than its migrations make is refused, and left as it is."""

from __future__ import annotations

import hashlib
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from core.database.database import DatabaseError, migrations, open_database, read_database

SETS = [
    migrations(
        "parts",
        """
        CREATE TABLE parts (id INTEGER PRIMARY KEY, name TEXT NOT NULL, data BLOB) STRICT;
        CREATE TABLE of_parts (part INTEGER NOT NULL REFERENCES parts (id), PRIMARY KEY (part)) STRICT, WITHOUT ROWID;
        """,
        "ALTER TABLE parts ADD COLUMN seen INTEGER; CREATE INDEX names ON parts (name);",
    ),
    migrations("other", "CREATE TABLE others (id INTEGER PRIMARY KEY) STRICT"),
]
MIGRATIONS = "_sqlite_migrations"
SCHEMA = "PRAGMA writable_schema = 1; UPDATE sqlite_master SET sql ="


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "state.db"
    open_database(path, SETS).close()
    return path


@pytest.mark.parametrize(
    ("script", "message"),
    [
        (f"DELETE FROM {MIGRATIONS}", "tampered with: it holds the "),
        (f"DELETE FROM {MIGRATIONS} WHERE name = '0001'", r"its record of the migration parts/0001 is missing"),
        (f"DELETE FROM {MIGRATIONS} WHERE name = '0002'", "its table parts is not as|it holds the index names"),
        (f"DELETE FROM {MIGRATIONS} WHERE migration_set = 'other'", "it holds the table others"),
        (f"DROP TABLE {MIGRATIONS}", "is none of ours: it holds the tables"),
        (f"DROP TABLE {MIGRATIONS}; CREATE VIEW {MIGRATIONS} AS SELECT 1 AS name", "is none of ours"),
        (f"DROP TABLE {MIGRATIONS}; CREATE TABLE {MIGRATIONS} (x)", "no such column: migration_set"),
        (f"INSERT INTO {MIGRATIONS} (migration_set, name) VALUES ('parts', '0003')", r"newer version .*parts/0003"),
        (f"INSERT INTO {MIGRATIONS} (migration_set, name) VALUES (NULL, NULL)", r"newer version .*None/None"),
        (f"INSERT INTO {MIGRATIONS} (migration_set, name) VALUES ('\x1b[31m', '1')", "newer version"),
        ("DROP TABLE of_parts", "its table of_parts is missing"),
        ("DROP INDEX names", "its index names is missing"),
        ("DROP INDEX names; CREATE INDEX names ON parts (data)", "its index names is not as"),
        ("DROP INDEX names; CREATE UNIQUE INDEX names ON parts (name)", "its index names is not as"),
        ("ALTER TABLE parts ADD COLUMN more TEXT", "its table parts is not as"),
        ("ALTER TABLE parts DROP COLUMN data", "its table parts is not as"),
        ("ALTER TABLE parts RENAME COLUMN data TO date", "its table parts is not as"),
        ("DROP TABLE others; CREATE TABLE others (id INTEGER PRIMARY KEY)", "its table others is not as"),
        ("DROP TABLE others; CREATE VIEW others AS SELECT 1 AS id", "its table others is missing|the view others"),
        ("DROP TABLE others; CREATE VIRTUAL TABLE others USING fts5(id)", "its table others is not as|it holds the"),
        ("CREATE TRIGGER t AFTER INSERT ON parts BEGIN DELETE FROM parts; END", "it holds the trigger t"),
        ("CREATE VIEW v AS SELECT * FROM parts", "it holds the view v"),
        ("CREATE TABLE more (id)", "it holds the table more"),
        (f"{SCHEMA} 'CREATE TABLE parts (' WHERE name = 'parts'", "malformed"),
        (f"{SCHEMA} CAST(x'ff00fe' AS TEXT) WHERE name = 'names'", "malformed|decode"),
        (f"{SCHEMA} CAST('CREATE INDEX ' || x'fffe80' AS TEXT) WHERE name = 'names'", "malformed|damaged|decode"),
        (f"UPDATE {MIGRATIONS} SET applied_at = CAST(x'ff' AS TEXT)", "decode"),
    ],
)
def test_what_was_tampered_with_is_refused_and_left_alone(path: Path, script: str, message: str) -> None:
    with closing(sqlite3.connect(path)) as database:
        database.executescript(script)
    before = hashlib.sha256(path.read_bytes()).digest()
    with pytest.raises(DatabaseError, match=message) as caught:
        open_database(path, SETS)
    assert f"database {path}" in str(caught.value)
    assert "name another file" in str(caught.value) or "bring a backup back" in str(caught.value)
    with pytest.raises(DatabaseError, match=message), read_database(path, SETS, pages=False):
        pass
    assert hashlib.sha256(path.read_bytes()).digest() == before


def test_what_sqlite_itself_adds_is_no_tampering(path: Path) -> None:
    with closing(sqlite3.connect(path)) as database:
        database.executescript("INSERT INTO parts (name) VALUES ('x'); ANALYZE; REINDEX; VACUUM")
    open_database(path, SETS).close()


def test_an_older_schema_is_read_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "old.db"
    older = [migrations("parts", "CREATE TABLE parts (id INTEGER PRIMARY KEY) STRICT")]
    newer = [migrations("parts", "CREATE TABLE parts (id INTEGER PRIMARY KEY) STRICT", "CREATE TABLE new (id INTEGER)")]
    open_database(path, older).close()
    with read_database(path, newer, pages=True) as database:
        assert "new" not in database.tables.table_names()
        with pytest.raises(DatabaseError, match="can only be read"), database.transaction():
            database.tables.execute("DELETE FROM parts")
    with pytest.raises(DatabaseError, match="no such table: new"), read_database(path, newer, pages=False) as database:
        database.tables.execute("SELECT * FROM new")
    with pytest.raises(DatabaseError, match="is not there"), read_database(tmp_path / "none.db", older, pages=False):
        pass
