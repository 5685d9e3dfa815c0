"""The tables of `state.db` besides the bank's."""

from __future__ import annotations

from core.bank.tables import BANK_TABLES
from core.database.database import migrations

FILE = "state.db"

STATE_TABLES = migrations(
    "state",
    """
    CREATE TABLE calibrations (
        id INTEGER PRIMARY KEY,
        line TEXT NOT NULL,
        at TEXT NOT NULL,
        who TEXT NOT NULL,
        source TEXT NOT NULL,
        threshold REAL NOT NULL,
        pixel_threshold REAL NOT NULL,
        rate REAL,
        count INTEGER NOT NULL,
        fingerprint TEXT NOT NULL,
        pack_sha256 TEXT NOT NULL,
        revision INTEGER NOT NULL
    ) STRICT;
    CREATE INDEX calibrations_of_a_line ON calibrations (line, id);
    CREATE TABLE audit (
        id INTEGER PRIMARY KEY,
        at TEXT NOT NULL,
        who TEXT NOT NULL,
        command TEXT NOT NULL,
        arguments TEXT NOT NULL,
        outcome TEXT NOT NULL
    ) STRICT;
    """,
    """
    ALTER TABLE calibrations ADD COLUMN scores TEXT NOT NULL DEFAULT '[]';
    CREATE TABLE feedback (
        id INTEGER PRIMARY KEY,
        at TEXT NOT NULL,
        who TEXT NOT NULL,
        line TEXT NOT NULL,
        seq INTEGER NOT NULL,
        kind TEXT NOT NULL,
        note TEXT NOT NULL,
        shot INTEGER,
        picture BLOB
    ) STRICT;
    CREATE INDEX feedback_of_a_line ON feedback (line, seq);
    """,
    """
    CREATE TABLE shot_scores (
        line TEXT PRIMARY KEY,
        fingerprint TEXT NOT NULL,
        pack_sha256 TEXT NOT NULL,
        revision INTEGER NOT NULL,
        scores TEXT NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE shot_texts (
        shot INTEGER NOT NULL REFERENCES shots (id) ON DELETE CASCADE,
        fingerprint TEXT NOT NULL,
        pack_sha256 TEXT NOT NULL,
        image REAL NOT NULL,
        local REAL NOT NULL,
        PRIMARY KEY (shot, fingerprint, pack_sha256)
    ) STRICT, WITHOUT ROWID;
    """,
    """
    CREATE TABLE line_settings (
        line TEXT PRIMARY KEY,
        paused_by TEXT,
        pack TEXT,
        configured_pack TEXT
    ) STRICT, WITHOUT ROWID;
    """,
    "ALTER TABLE audit ADD COLUMN claimed TEXT;",
    # `edge/storage/facts.py` names the facts. `last_numbers` has what each line's last number was some seconds ago, so
    # that a `verdicts.db` that is older than that is found out.
    """
    CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
    CREATE TABLE last_numbers (
        line TEXT PRIMARY KEY,
        seq INTEGER NOT NULL,
        generation INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    """,
    # A recipe's shots and calibrations have in `line` what `recipe_key` makes of it: of the first recipe the line's
    # name, so that those of before there were recipes are its. `recipe` is the active one, `configured` what the TOML
    # file said of the first recipe when it was last read; `pack` and `configured_pack` are of older versions.
    """
    CREATE TABLE recipes (
        line TEXT NOT NULL,
        number INTEGER NOT NULL CHECK (number BETWEEN 1 AND 65535),
        name TEXT NOT NULL,
        retired INTEGER NOT NULL CHECK (retired IN (0, 1)),
        PRIMARY KEY (line, number)
    ) STRICT, WITHOUT ROWID;
    CREATE UNIQUE INDEX recipe_names ON recipes (line, name);
    CREATE TABLE recipe_revisions (
        line TEXT NOT NULL,
        number INTEGER NOT NULL,
        revision INTEGER NOT NULL,
        at TEXT NOT NULL,
        who TEXT NOT NULL,
        reason TEXT NOT NULL,
        settings TEXT NOT NULL,
        PRIMARY KEY (line, number, revision),
        FOREIGN KEY (line, number) REFERENCES recipes (line, number)
    ) STRICT, WITHOUT ROWID;
    ALTER TABLE line_settings ADD COLUMN recipe INTEGER;
    ALTER TABLE line_settings ADD COLUMN configured TEXT;
    """,
    # What a command changed, as JSON, and by which recipe a part was judged; NULL in entries of before.
    """
    ALTER TABLE audit ADD COLUMN before TEXT;
    ALTER TABLE audit ADD COLUMN after TEXT;
    ALTER TABLE feedback ADD COLUMN recipe INTEGER;
    """,
    """
    CREATE TABLE candidates (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        line TEXT NOT NULL,
        held_at TEXT NOT NULL,
        who TEXT NOT NULL,
        source TEXT NOT NULL,
        note TEXT NOT NULL,
        width INTEGER NOT NULL,
        height INTEGER NOT NULL,
        score REAL,
        flags TEXT NOT NULL,
        sha256 TEXT NOT NULL,
        picture BLOB NOT NULL,
        UNIQUE (line, sha256)
    ) STRICT;
    """,
    """
    ALTER TABLE calibrations ADD COLUMN review_below REAL;
    ALTER TABLE calibrations ADD COLUMN rejected_rate REAL;
    ALTER TABLE calibrations ADD COLUMN escape_rate REAL;
    """,
    """
    CREATE TABLE shadows (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        line TEXT NOT NULL,
        recipe INTEGER NOT NULL,
        beside INTEGER NOT NULL,
        first_seq INTEGER NOT NULL,
        started_at TEXT NOT NULL,
        started_by TEXT NOT NULL,
        ended_at TEXT,
        ended_by TEXT,
        last_seq INTEGER
    ) STRICT;
    CREATE UNIQUE INDEX shadows_that_run ON shadows (line) WHERE ended_at IS NULL;
    """,
)
ALL_TABLES = [BANK_TABLES, STATE_TABLES]
"""All migrations of the file."""
