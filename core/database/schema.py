"""Whether a database has just the tables that its migrations make."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from typing import Any, TypeAlias

import sqlite_utils
from sqlite_utils import Migrations

from core.database.error import DatabaseError

_Schema: TypeAlias = dict[tuple[str, str], Any]

_NAMES = "SELECT type, name FROM sqlite_master WHERE name NOT LIKE 'sqlite~_%' ESCAPE '~'"  # those are SQLite's own


def check_schema(connection: sqlite3.Connection, sets: Sequence[Migrations], what: str, remedy: str) -> None:
    """Refuses a database whose migrations are not all known here, or that holds anything else than they make.

    Args:
        connection: To the database.
        sets: All migrations of the program.
        what: Names the database.
        remedy: What helps.

    Raises:
        DatabaseError: the message says what is not as it should be.
        sqlite3.Error: it cannot be read.
    """
    found = dict.fromkeys(connection.execute(_NAMES).fetchall())
    tables = sorted(str(name) for kind, name in found if kind == "table")
    if Migrations.migrations_table not in tables:
        holds = f"holds the tables {', '.join(tables)}" if tables else "is empty"
        raise DatabaseError(f"{what} is none of ours: it {holds}; name another file. If it was: {remedy}")
    expected = _expected(_applied(connection, sets, what, remedy), sets)
    for kind, name in sorted({*expected, *found}, key=str):
        if (kind, name) not in found:
            raise DatabaseError(f"{what} was tampered with: its {kind} {name} is missing: {remedy}")
        if (kind, name) not in expected:
            unknown = f"it holds the {kind} {name}, which the program does not make"
            raise DatabaseError(f"{what} was tampered with: {unknown}: {remedy}")
        if _shape(connection, kind, name) != expected[kind, name]:
            raise DatabaseError(f"{what} was tampered with: its {kind} {name} is not as the program makes it: {remedy}")


def _applied(connection: sqlite3.Connection, sets: Sequence[Migrations], what: str, remedy: str) -> dict[str, int]:
    """How many migrations of each set the database has; the first ones, or it is refused."""
    rows = connection.execute(f"SELECT migration_set, name, applied_at FROM {Migrations.migrations_table}").fetchall()
    recorded = {(name, step) for name, step, _ in rows}
    known = {migration_set.name: _names(migration_set) for migration_set in sets}
    if newer := recorded - {(name, step) for name, steps in known.items() for step in steps}:
        names = ", ".join(sorted("/".join(map(str, row)) for row in newer))
        raise DatabaseError(
            f"{what} was written by a newer version (migrations {names}), which this one would misread: "
            f"update. Or go back to before that: {remedy}"
        )
    counts = {}
    for name, steps in known.items():
        counts[name] = sum((name, step) in recorded for step in steps)
        if missing := [step for step in steps[: counts[name]] if (name, step) not in recorded]:
            text = f"its record of the migration {name}/{missing[0]} is missing"
            raise DatabaseError(f"{what} was tampered with: {text}: {remedy}")
    return counts


def _names(migrations: Migrations) -> list[str]:
    nothing = sqlite_utils.Database(memory=True)
    with closing(nothing.conn):
        return [step.name for step in migrations.pending(nothing)]


def _expected(counts: dict[str, int], sets: Sequence[Migrations]) -> _Schema:
    """What the first so many migrations of each set make."""
    with closing(sqlite3.connect(":memory:")) as connection:
        tables = sqlite_utils.Database(connection, strict=True, execute_plugins=False)
        for migration_set in sets:
            migration_set.apply(tables, stop_before=_names(migration_set)[counts[migration_set.name] :])
        return {(kind, name): _shape(connection, kind, name) for kind, name in connection.execute(_NAMES).fetchall()}


def _shape(connection: sqlite3.Connection, kind: str, name: str) -> Any:
    """What tells a table or index from another of the same name; its text may be written in several ways."""

    def ask(query: str) -> list[Any]:
        return connection.execute(query, (name,)).fetchall()

    if kind == "table":
        columns = ask('SELECT name, type, "notnull", dflt_value, pk, hidden FROM pragma_table_xinfo(?)')
        keys = ask('SELECT "from", "table", "to", on_delete FROM pragma_foreign_key_list(?)')
        return columns, sorted(map(str, keys)), ask("SELECT type, wr, strict FROM pragma_table_list(?)")
    if kind == "index":
        table = "SELECT tbl_name FROM sqlite_master WHERE type = 'index' AND name = ?1"
        of = ask(f'SELECT ({table}), "unique", partial FROM pragma_index_list(({table})) WHERE name = ?1')
        return of, ask("SELECT name, desc, coll, key FROM pragma_index_xinfo(?)")
    return ask("SELECT sql FROM sqlite_master WHERE name = ?")
