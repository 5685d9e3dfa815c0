"""The tables of `verdicts.db`, and what passes in and out of them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from core.database.database import migrations
from edge.clock import iso_ms
from edge.messages import Verdict

FILE = "verdicts.db"
RECENT_PARTS = 4096
"""Parts of a line that are remembered besides the disk, so that a second answer says so though the disk is away."""

# An outbox row refers to its verdict; `filed` is the reading of the clock that rows age by, and grows with seq.
VERDICT_TABLES = migrations(
    "verdicts",
    """
    CREATE TABLE lines (line TEXT PRIMARY KEY, seq INTEGER NOT NULL) STRICT, WITHOUT ROWID;
    CREATE TABLE verdicts (
        line TEXT NOT NULL,
        seq INTEGER NOT NULL,
        id TEXT NOT NULL,
        issued_at TEXT NOT NULL,
        filed REAL NOT NULL,
        mode TEXT NOT NULL,
        part_id TEXT,
        verdict TEXT NOT NULL,
        error_code TEXT,
        score REAL,
        peak REAL,
        threshold REAL NOT NULL,
        pack_sha256 TEXT NOT NULL,
        fingerprint TEXT NOT NULL,
        bank_revision INTEGER NOT NULL,
        archive TEXT,
        total_ms REAL,
        simulated INTEGER NOT NULL,
        payload TEXT NOT NULL,
        PRIMARY KEY (line, seq)
    ) STRICT;
    CREATE INDEX verdicts_by_time ON verdicts (line, issued_at, seq, verdict);
    CREATE INDEX verdicts_by_part ON verdicts (line, part_id, seq) WHERE part_id IS NOT NULL;
    CREATE INDEX verdicts_amiss ON verdicts (line, verdict, seq) WHERE verdict <> 'normal';
    CREATE TABLE outbox (
        line TEXT NOT NULL,
        seq INTEGER NOT NULL,
        id TEXT NOT NULL UNIQUE,
        PRIMARY KEY (line, seq),
        FOREIGN KEY (line, seq) REFERENCES verdicts (line, seq)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE triggers (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        line TEXT NOT NULL,
        part_id TEXT NOT NULL,
        received_at TEXT NOT NULL
    ) STRICT;
    CREATE INDEX triggers_by_part ON triggers (line, part_id);
    """,
    # A trigger's message stays here until the broker has surely had the PUBACK. `facts` has `generation`, of each line
    # its session at the broker, and what `edge/storage/facts.py` names. A line's generation begins anew when its
    # numbers cannot be known to go on.
    """
    CREATE TABLE messages (
        client TEXT NOT NULL,
        packet INTEGER NOT NULL,
        session TEXT NOT NULL,
        connection TEXT NOT NULL,
        digest TEXT NOT NULL,
        trigger INTEGER NOT NULL,
        PRIMARY KEY (client, packet)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
    INSERT INTO facts (name, value) VALUES ('generation', '1');
    ALTER TABLE lines ADD COLUMN generation INTEGER NOT NULL DEFAULT 1;
    """,
    # Nobody guesses a client's id that ends with a random part. A state of before has none for ever: under another id
    # the service would lose the triggers that wait at the broker for it.
    """
    INSERT INTO facts (name, value) SELECT 'client_suffix', CASE
        WHEN EXISTS (SELECT 1 FROM lines) OR EXISTS (SELECT 1 FROM facts WHERE name LIKE 'session %') THEN ''
        ELSE lower(hex(randomblob(8))) END;
    """,
    # Whether the broker had the verdict late, which nobody knows when it is issued.
    "ALTER TABLE verdicts ADD COLUMN historical INTEGER NOT NULL DEFAULT 0;",
    """
    ALTER TABLE verdicts ADD COLUMN review INTEGER NOT NULL DEFAULT 0;
    CREATE INDEX verdicts_for_review ON verdicts (line, seq) WHERE review <> 0;
    """,
    # What a shadow said of the part goes with its verdict; `shadow` is its number in `state.db`.
    """
    CREATE TABLE shadow_verdicts (
        line TEXT NOT NULL,
        seq INTEGER NOT NULL,
        shadow INTEGER NOT NULL,
        revision INTEGER NOT NULL,
        score REAL NOT NULL,
        threshold REAL NOT NULL,
        answer TEXT NOT NULL,
        PRIMARY KEY (line, seq),
        FOREIGN KEY (line, seq) REFERENCES verdicts (line, seq) ON DELETE CASCADE
    ) STRICT, WITHOUT ROWID;
    """,
)


@dataclass(frozen=True)
class MessageIdentity:
    """What tells a message of the broker from every other one.

    Attributes:
        client: The line whose connection brought it.
        connection: That connection; another one after each loss.
        packet: Its packet identifier, which the broker keeps when it sends the message again.
        digest: Of topic and payload.
        repeated: Whether the broker says that it may have sent it before (DUP).
        session: The broker's session, in which a packet identifier means something; another one after each that the
            broker has lost.
    """

    client: str
    connection: str
    packet: int
    digest: str
    repeated: bool
    session: str = ""

    @property
    def name(self) -> str:
        """The same for each transmission of the message."""
        return f"{self.client} {self.session} {self.packet} {self.digest}"


@dataclass(frozen=True)
class Accepted:
    """A trigger that is on disk.

    Attributes:
        trigger: Its number.
        known: Whether the line had or has a part of that part_id.
        repetition: Whether its message is on disk already, and not acknowledged: it has or gets its answer as that.
    """

    trigger: int
    known: bool
    repetition: bool = False


@dataclass(frozen=True)
class LineRecord:
    """What is known of a line without asking the disk.

    Attributes:
        seq: Of its last verdict.
        generation: Of its numbers, which have no gap within one.
        count: Verdicts that wait for the broker.
        dropped: Verdicts that have waited in vain, since the start.
        oldest_seq, oldest_at, oldest_filed: Of the oldest that waits: its number, stamp, and reading of the clock.
    """

    seq: int = 0
    generation: int = 1
    count: int = 0
    dropped: int = 0
    oldest_seq: int = 0
    oldest_at: datetime | None = None
    oldest_filed: float = 0.0


def stamp(text: str) -> datetime:
    """A UTC stamp as it was written to the tables, aware."""
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


def row_of(verdict: Verdict) -> dict[str, Any]:
    """A verdict as its row, without `filed`."""
    heatmap = verdict.heatmap
    return {
        "line": verdict.line,
        "seq": verdict.seq,
        "id": verdict.id,
        "issued_at": iso_ms(verdict.issued_at),
        "mode": verdict.mode,
        "part_id": verdict.part_id,
        "verdict": verdict.verdict,
        "error_code": verdict.error.code if verdict.error else None,
        "score": verdict.score,
        "peak": heatmap.max if heatmap else None,
        "threshold": verdict.threshold,
        "pack_sha256": verdict.recipe.pack_sha256,
        "fingerprint": verdict.model.fingerprint,
        "bank_revision": verdict.bank.revision,
        "archive": heatmap.archive if heatmap else None,
        "total_ms": verdict.timing_ms.total if verdict.timing_ms else None,
        "simulated": int(verdict.simulated),
        "review": int(verdict.review),
        "payload": verdict.to_json().decode(),
    }
