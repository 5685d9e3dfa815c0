"""What a database says of itself: names and values in its table `facts`."""

from __future__ import annotations

import sqlite3
from datetime import datetime

from edge.clock import iso_ms

INSTALLATION = "installation"
"""The id that both databases of a state carry."""
COPIED_AT = "copied_at"
"""In a backup, when it was made: the same in both of its files."""
ALONE = "alone"
"""Somebody has said that the database goes on without the other one, which is lost."""


def read_facts(connection: sqlite3.Connection) -> dict[str, str]:
    """All of them; none in a database of a version that had no such table."""
    table = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'facts'"
    if connection.execute(table).fetchone() is None:
        return {}
    return dict(connection.execute("SELECT name, value FROM facts").fetchall())


def set_fact(connection: sqlite3.Connection, name: str, value: str | None) -> None:
    """Writes one; None: takes it away."""
    if value is None:
        connection.execute("DELETE FROM facts WHERE name = ?", (name,))
    else:
        connection.execute("INSERT OR REPLACE INTO facts (name, value) VALUES (?, ?)", (name, value))


def join(connection: sqlite3.Connection, installation: str) -> None:
    """The database belongs to an installation, and has its other half beside it."""
    facts = read_facts(connection)
    if facts.get(INSTALLATION) != installation:
        set_fact(connection, INSTALLATION, installation)
    if ALONE in facts:
        set_fact(connection, ALONE, None)


def mark_copy(at: datetime) -> str:
    """SQL that marks a backup, so that whoever opens it begins a new generation."""
    return f"INSERT OR REPLACE INTO facts (name, value) VALUES ('{COPIED_AT}', '{iso_ms(at)}');"
