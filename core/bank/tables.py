"""The tables of the few-shot memory bank, with all changes that were ever made to them."""

from __future__ import annotations

from core.database.database import migrations

BANK_TABLES = migrations(
    "bank",
    # What is large comes last in its row, so that the rest is read without it.
    """
    CREATE TABLE shots (
        id INTEGER PRIMARY KEY,
        line TEXT NOT NULL,
        class TEXT NOT NULL,
        sha256 TEXT NOT NULL,  -- of image
        width INTEGER NOT NULL,
        height INTEGER NOT NULL,
        added_at TEXT NOT NULL,
        who TEXT NOT NULL,
        source TEXT NOT NULL,
        note TEXT NOT NULL,
        flags TEXT NOT NULL,  -- JSON: why it needed an explicit yes
        active INTEGER NOT NULL CHECK (active IN (0, 1)),
        removed_at TEXT,
        removed_by TEXT,
        image BLOB NOT NULL  -- PNG
    ) STRICT;
    CREATE UNIQUE INDEX shots_active ON shots (line, sha256) WHERE active = 1;
    CREATE INDEX shots_line ON shots (line);
    CREATE TABLE features (
        shot INTEGER NOT NULL REFERENCES shots (id) ON DELETE CASCADE,
        variant INTEGER NOT NULL CHECK (variant BETWEEN 0 AND 7),
        kind TEXT NOT NULL,  -- window:<scale> or patch
        fingerprint TEXT NOT NULL,
        preprocess INTEGER NOT NULL,
        dtype TEXT NOT NULL,  -- float16, little-endian
        shape TEXT NOT NULL,  -- JSON
        crc32 INTEGER NOT NULL,  -- of data
        data BLOB NOT NULL,
        PRIMARY KEY (shot, fingerprint, preprocess, variant, kind)
    ) STRICT;
    CREATE TABLE bank_revisions (
        line TEXT NOT NULL,
        revision INTEGER NOT NULL,
        at TEXT NOT NULL,
        who TEXT NOT NULL,
        what TEXT NOT NULL CHECK (what IN ('enrol', 'remove', 'restore', 'import')),
        shot INTEGER NOT NULL REFERENCES shots (id),
        PRIMARY KEY (line, revision)
    ) STRICT;
    """,
    # Variants up to 15. Nothing refers to the table, so that to drop it takes no other row along.
    """
    CREATE TABLE features_16 (
        shot INTEGER NOT NULL REFERENCES shots (id) ON DELETE CASCADE,
        variant INTEGER NOT NULL CHECK (variant BETWEEN 0 AND 15),
        kind TEXT NOT NULL,  -- window:<scale> or patch
        fingerprint TEXT NOT NULL,
        preprocess INTEGER NOT NULL,
        dtype TEXT NOT NULL,  -- float16, little-endian
        shape TEXT NOT NULL,  -- JSON
        crc32 INTEGER NOT NULL,  -- of data
        data BLOB NOT NULL,
        PRIMARY KEY (shot, fingerprint, preprocess, variant, kind)
    ) STRICT;
    INSERT INTO features_16 (shot, variant, kind, fingerprint, preprocess, dtype, shape, crc32, data)
        SELECT shot, variant, kind, fingerprint, preprocess, dtype, shape, crc32, data FROM features;
    DROP TABLE features;
    ALTER TABLE features_16 RENAME TO features;
    """,
)
