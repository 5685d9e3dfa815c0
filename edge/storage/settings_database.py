"""What people have set and shown, in one database, and the one thread that writes it."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar, cast

from core.bank.memory_bank import Bank
from core.database.database import Database, DatabaseError, open_database
from core.database.error import restore_remedy
from edge.clock import iso_ms, utc_now
from edge.ops.alarms import Alarms
from edge.ops.worker import Workers
from edge.storage.candidates import Candidates
from edge.storage.facts import COPIED_AT, join, mark_copy, read_facts, set_fact
from edge.storage.feedback import DEFECTIVE
from edge.storage.line_number import LineNumber
from edge.storage.recipe_tables import RecipeTables
from edge.storage.shadow_tables import ShadowTables
from edge.storage.state_tables import ALL_TABLES
from edge.storage.state_tables import FILE as FILE
from edge.storage.state_tables import STATE_TABLES as STATE_TABLES
from edge.storage.writer import DatabaseWriter

T = TypeVar("T")


@dataclass(frozen=True)
class LineCalibration:
    """A recipe's threshold, what it was set from, and what it is true of.

    Attributes:
        threshold: A part whose score is at or above it is anomalous.
        pixel_threshold: Heatmap values at or above it form regions.
        rate: The false-alarm rate that it promises; None when it was set by hand.
        count: Normal scores that it came from.
        source: In words, as in every verdict.
        fingerprint: Of model, method and inspected region; pack_sha256: of the pack; revision: of the bank. With others
            the scores are others.
    """

    threshold: float
    pixel_threshold: float
    rate: float | None
    count: int
    source: str
    fingerprint: str
    pack_sha256: str
    revision: int
    scores: tuple[float, ...] = ()
    """The normal scores."""
    review_below: float | None = None
    """With a review: an anomalous part whose score is below it is for a person to look at."""
    rejected_rate: float | None = None
    """With a review: the promised share of good parts at or above `review_below`."""
    escape_rate: float | None = None
    """With a review by bad parts: the promised share of bad parts below the threshold."""


class SettingsTables:
    """The database's tables; for the thread that opened it."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.bank = Bank(database)
        self.recipes = RecipeTables(database)
        self.candidates = Candidates(database)
        self.shadows = ShadowTables(database)

    def transaction(self) -> AbstractContextManager[None]:
        """As `edge.storage.writer.Tables`; so are the next two."""
        return self.database.transaction()

    def attempt(self, job: Callable[[SettingsTables], T]) -> T:
        with self.database.transaction():
            return job(self)

    def prune(self) -> bool:
        return False

    def join(self, installation: str) -> None:
        """The database belongs to an installation, and is no backup any more."""
        with self.database.transaction():
            join(self.database.tables.conn, installation)
            if COPIED_AT in read_facts(self.database.tables.conn):
                set_fact(self.database.tables.conn, COPIED_AT, None)

    def set_number(self, line: str, number: LineNumber) -> None:
        """Keeps the last number of a line, as far as it is known here."""
        with self.database.transaction():
            self.database.tables.execute(
                "INSERT OR REPLACE INTO last_numbers (line, seq, generation) VALUES (?, ?, ?)",
                [line, number.seq, number.generation],
            )

    def calibration(self, line: str) -> LineCalibration | None:
        """The last calibration of a recipe; `line` is its `recipe_key` here, and in what follows."""
        columns = ", ".join(LineCalibration.__dataclass_fields__)
        found = list(
            self.database.tables.query(
                f"SELECT {columns} FROM calibrations WHERE line = ? ORDER BY id DESC LIMIT 1", [line]
            )
        )
        if not found:
            return None
        scores = self._parsed(found[0]["scores"], lambda scores: tuple(map(float, scores)))
        return LineCalibration(**found[0] | {"scores": scores})

    def calibrate(self, line: str, calibration: LineCalibration, who: str) -> None:
        """Keeps a calibration as the recipe's last one."""
        with self.database.transaction():
            row = {"line": line, "at": iso_ms(utc_now()), "who": who} | asdict(calibration)
            self._insert("calibrations", row | {"scores": json.dumps(calibration.scores)})

    def copy_shots(self, key: str, to: str, who: str) -> None:
        """Gives the recipe of the key `to`, which has none, the active shots and the last calibration of another."""
        with self.database.transaction():
            kept, revision = self.calibration(key), self.bank.revision(key)
            self.bank.copy(key, to, utc_now(), who)
            if kept is not None:
                holds = kept.revision == revision  # else the shots of both have changed since
                copied = replace(kept, revision=self.bank.revision(to) if holds else -1)
                self.calibrate(to, copied, who)

    def shot_scores(
        self, line: str, fingerprint: str, pack_sha256: str, revision: int
    ) -> tuple[tuple[float, float], ...] | None:
        """What the line's shots score, each against the others; None where that was not kept for just these.

        Args:
            line: Its name.
            fingerprint, pack_sha256, revision: As of `LineCalibration`.
        """
        found = list(
            self.database.tables.query(
                "SELECT scores FROM shot_scores"
                " WHERE line = ? AND fingerprint = ? AND pack_sha256 = ? AND revision = ?",
                [line, fingerprint, pack_sha256, revision],
            )
        )
        if not found:
            return None
        return self._parsed(
            found[0]["scores"], lambda pairs: tuple((float(score), float(peak)) for score, peak in pairs)
        )

    def keep_shot_scores(
        self, line: str, fingerprint: str, pack_sha256: str, revision: int, scores: Sequence[tuple[float, float]]
    ) -> None:
        """Keeps what `shot_scores` then finds, in place of what there was of the line."""
        with self.database.transaction():
            self.database.tables.execute(
                "INSERT OR REPLACE INTO shot_scores (line, fingerprint, pack_sha256, revision, scores)"
                " VALUES (?, ?, ?, ?, ?)",
                [line, fingerprint, pack_sha256, revision, json.dumps(scores)],
            )

    def shot_texts(self, shot: int, fingerprint: str, pack_sha256: str) -> tuple[float, float] | None:
        """S_G and the largest S~_L of a shot by a pack; None where that was not kept for just these."""
        query = "SELECT image, local FROM shot_texts WHERE shot = ? AND fingerprint = ? AND pack_sha256 = ?"
        found = list(self.database.tables.query(query, [shot, fingerprint, pack_sha256]))
        return (found[0]["image"], found[0]["local"]) if found else None

    def keep_shot_texts(self, shot: int, fingerprint: str, pack_sha256: str, scores: tuple[float, float]) -> None:
        """Keeps what `shot_texts` then finds."""
        row = [shot, fingerprint, pack_sha256, *scores]
        with self.database.transaction():
            self.database.tables.execute("INSERT OR REPLACE INTO shot_texts VALUES (?, ?, ?, ?, ?)", row)

    def paused(self, line: str) -> str | None:
        """Who paused the line; None: it is not paused."""
        found = list(self.database.tables.query("SELECT paused_by FROM line_settings WHERE line = ?", [line]))
        return cast("str | None", found[0]["paused_by"]) if found else None

    def set_paused(self, line: str, who: str | None) -> None:
        """Keeps who paused the line; None: it was resumed."""
        with self.database.transaction():
            self.database.tables.execute(
                "INSERT INTO line_settings (line, paused_by) VALUES (?, ?)"
                " ON CONFLICT (line) DO UPDATE SET paused_by = excluded.paused_by",
                [line, who],
            )

    def forget_settings(self, line: str) -> None:
        """Drops pause and active recipe of a line that is gone; its recipes, shots and feedback stay."""
        query = "UPDATE line_settings SET paused_by = NULL, recipe = NULL WHERE line = ?"
        with self.database.transaction():
            self.database.tables.execute(query, [line])

    def note(
        self,
        who: str,
        command: str,
        arguments: dict[str, Any],
        outcome: str,
        claimed: str | None = None,
        states: tuple[dict[str, Any] | None, dict[str, Any] | None] = (None, None),
    ) -> None:
        """Writes to the audit who asked for what, and what came of it.

        Args:
            who: By the kernel.
            command, arguments: As asked.
            outcome: In words.
            claimed: Who they said they were.
            states: What it changed, before and after; None where that is not known.
        """
        row = {"at": iso_ms(utc_now()), "who": who, "claimed": claimed, "command": command, "outcome": outcome}
        before, after = (None if state is None else json.dumps(state) for state in states)
        with self.database.transaction():
            self._insert(
                "audit", row | {"arguments": json.dumps(arguments, sort_keys=True), "before": before, "after": after}
            )

    def feed_back(
        self,
        line: str,
        seq: int,
        kind: str,
        *,
        who: str,
        note: str,
        shot: int | None,
        picture: bytes | None,
        recipe: int | None = None,
    ) -> int:
        """Keeps what people say of a verdict, with the shot that came of it, or with the picture (PNG) as evidence.

        Args:
            line, seq: Whose verdict, and its number.
            kind: One of `edge.storage.feedback.DEFECTIVE`.
            who: Who says so.
            note: What else they say.
            shot: The number of the shot that the picture became.
            picture: As evidence, where it became none.
            recipe: The number of the recipe that judged the part.

        Returns:
            The entry's number.
        """
        row = {"at": iso_ms(utc_now()), "who": who, "line": line, "seq": seq, "kind": kind, "note": note}
        kept = "SELECT 1 FROM feedback WHERE line = ? AND seq = ? AND picture = ?"
        with self.database.transaction():
            if picture is not None and list(self.database.tables.query(kept, [line, seq, picture])):
                picture = None  # who changes their mind often does not fill the disk
            return self._insert("feedback", row | {"shot": shot, "picture": picture, "recipe": recipe})

    def feedback_kind(self, line: str, seq: int) -> str | None:
        """What was last said of a verdict; None: nothing."""
        query = "SELECT kind FROM feedback WHERE line = ? AND seq = ? ORDER BY id DESC LIMIT 1"
        found = list(self.database.tables.query(query, [line, seq]))
        return found[0]["kind"] if found else None

    def answered(self, line: str) -> set[int]:
        """The numbers of the verdicts that people have said something of."""
        return {row["seq"] for row in self.database.tables.query("SELECT seq FROM feedback WHERE line = ?", [line])}

    def defective(self, line: str) -> set[int]:
        """The numbers of the verdicts whose parts people have called defective, by the last that was said of each."""
        query = "SELECT seq, kind FROM feedback WHERE line = ? ORDER BY id"
        last = {row["seq"]: row["kind"] for row in self.database.tables.query(query, [line])}
        return {seq for seq, kind in last.items() if DEFECTIVE.get(kind)}

    def audit(self, count: int, before: int | None = None) -> list[dict[str, Any]]:
        """The last entries of the audit, the newest first; `before` and `after` have what changed, by name.

        Args:
            count: So many at most.
            before: With an `id` below it; None: any.
        """
        query = "SELECT * FROM audit WHERE id < ? ORDER BY id DESC LIMIT ?"
        entries = list(self.database.tables.query(query, [before or 2**63 - 1, count]))
        return [entry | {name: self._state(entry[name]) for name in ("before", "after")} for entry in entries]

    def _state(self, text: str | None) -> dict[str, Any] | None:
        return None if text is None else self._parsed(text, dict)

    def _parsed(self, text: str, parse: Callable[[Any], T]) -> T:
        """What JSON of the database says.

        Raises:
            DatabaseError: the program does not write such a thing.
        """
        try:
            return parse(json.loads(text))
        except (ValueError, TypeError, RecursionError) as error:
            path = self.database.path
            message = f"database {path} holds what the program does not write ({error}): {restore_remedy(path)}"
            raise DatabaseError(message) from error

    def _insert(self, table: str, row: dict[str, Any]) -> int:
        return int(cast(Any, self.database.tables[table]).insert(row).last_pk)


class SettingsDatabase:
    """Opens `state.db` in a folder. One thread writes it, one job after the other; any thread may ask for that.

    Jobs are short: a job reads or writes, and computes nothing. Its maker holds the folder's lock
    (`edge.ops.lock.hold_state`), which keeps a second service, or an offline command, from the same file.
    """

    def __init__(self, folder: Path, workers: Workers | None = None, alarms: Alarms | None = None) -> None:
        """Starts nothing yet; `alarms`: where it is told that the file is lost."""
        self.folder = folder
        self._writer = DatabaseWriter(folder / FILE, self._open, workers, alarms, vital=False)

    def start(self) -> None:
        """Opens the database, and makes it where there is none.

        Raises:
            DatabaseError: it is damaged, or the disk does not take it.
        """
        self._writer.start()

    def begin(self) -> Future[SettingsTables]:
        """As `start`, but does not wait for it."""
        return self._writer.begin()

    def run(self, job: Callable[[SettingsTables], T]) -> T:
        """What `job` returns in the database's thread; waits for it.

        Raises:
            DatabaseError: the disk does not take it.
        """
        return self._writer.run(job)

    def submit(self, job: Callable[[SettingsTables], T]) -> Future[T]:
        """As `run`, but does not wait. Callbacks of the future run in the database's thread, and wait for nothing."""
        return self._writer.submit(job)

    def read(self, job: Callable[[SettingsTables], T]) -> T:
        """What `job` reads in the calling thread, beside what others write: for what takes longer.

        Raises:
            DatabaseError: the file cannot be read.
        """
        with self._opened().database.reader() as database:
            return job(SettingsTables(database))

    def join(self, installation: str) -> None:
        """The database belongs to an installation; waits for the disk.

        Raises:
            DatabaseError: the disk does not take it.
        """
        self.run(lambda tables: tables.join(installation))

    def note_number(self, line: str, number: LineNumber) -> None:
        """Has the last number of a line kept, soon; returns at once."""
        self._writer.note(("number", line), lambda tables: tables.set_number(line, number))

    def backup(self, folder: Path, at: datetime) -> Path:
        """Copies all that is committed now into `folder`, as a backup of the moment `at`; safe from any thread.

        Raises:
            DatabaseError: it cannot be written there.
        """
        self._opened().database.backup(folder / FILE, mark_copy(at))
        return folder / FILE

    def stop(self) -> None:
        """Finishes what was asked for, and closes the database. May be called twice."""
        self._writer.stop()

    def _open(self) -> SettingsTables:
        return SettingsTables(open_database(self.folder / FILE, ALL_TABLES))

    def _opened(self) -> SettingsTables:
        return self._writer.opened
