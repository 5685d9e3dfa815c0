"""What was judged, read beside the running service or without one: verdicts, scores, exports."""

from __future__ import annotations

import csv
import importlib
import json
import os
import sqlite3
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

from core.database.database import Database, DatabaseError
from core.database.error import restore_remedy
from core.database.files import is_there
from core.files import remove_drafts, replacing
from core.remedy import extra
from edge.clock import iso_ms
from edge.settings_recipe import FIRST
from edge.storage.facts import mark_copy
from edge.storage.verdict_tables import FILE, stamp

_BUSY = 10.0  # seconds that a read waits for who opens the database
_BATCH = 1000  # rows of an export that are read at a time: a long read would keep the writer's log from being emptied
_FORMULA = ("=", "+", "-", "@", "\t", "\r")  # what a spreadsheet takes for the beginning of one


class UnknownVerdictError(LookupError, ValueError):
    """The line's history has no verdict of this number."""


class ExportError(RuntimeError):
    """The file cannot be written; the message says what to do."""


@dataclass(frozen=True)
class Entry:
    """A verdict of the history; `History.payload` has the rest of it.

    Attributes:
        peak: The largest value of its heatmap.
        archive: Path of its picture below the archive's root.
        total_ms: From the grab to the issue, milliseconds.
        provisional: Whether the threshold was neither calibrated nor set by hand.
    """

    line: str
    seq: int
    id: str
    issued_at: datetime
    mode: str
    part_id: str | None
    verdict: str
    error_code: str | None
    score: float | None
    peak: float | None
    threshold: float
    pack_sha256: str
    fingerprint: str
    bank_revision: int
    archive: str | None
    total_ms: float | None
    simulated: bool
    provisional: bool

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it; the stamp is ISO 8601 in UTC with milliseconds."""
        return vars(self) | {"issued_at": iso_ms(self.issued_at)}


class ScoredPart(NamedTuple):
    """What was scored: the number of the verdict or of the shot, S, and the peak of the heatmap."""

    number: int
    score: float
    peak: float


Write: TypeAlias = Callable[[list[Entry]], Any]

_COLUMNS = tuple(one.name for one in fields(Entry))
_MADE = {"provisional": "coalesce(json_extract(payload, '$.provisional'), 0) AS provisional"}  # the rest are in the row
_ENTRY = f"SELECT {', '.join(_MADE.get(name, name) for name in _COLUMNS)} FROM verdicts"


class History:
    """The verdicts in a state's folder. Any thread and any process may read them, beside the one that writes.

    Every method raises DatabaseError where the file cannot be read.
    """

    def __init__(self, folder: Path) -> None:
        """`folder`: where it has no `verdicts.db` yet, there are no verdicts."""
        self.path = folder / FILE

    def lines(self) -> list[str]:
        """The lines that have issued verdicts."""
        return [line for (line,) in self._rows("SELECT line FROM lines ORDER BY line")]

    def last_seq(self, line: str) -> int:
        """The sequence number of the line's last verdict; 0 for a new line."""
        found = self._rows("SELECT seq FROM lines WHERE line = ?", line)
        return int(found[0][0]) if found else 0

    def verdicts(
        self,
        line: str,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        kinds: Collection[str] = (),
        part_id: str | None = None,
        count: int = 100,
    ) -> list[Entry]:
        """The line's last verdicts, the newest first.

        Args:
            line: Its name.
            since: Issued then or later.
            until: Issued before.
            kinds: Some of `normal`, `anomaly`, `error`; none: all of them.
            part_id: Of this part.
            count: So many at most.
        """
        where, values = _where(line, since, until, kinds)
        index = ""
        if part_id is not None:
            where, values, index = f"{where} AND part_id = ?", [*values, part_id], "INDEXED BY verdicts_by_part"
        elif since is not None or until is not None:
            index = "INDEXED BY verdicts_by_time"
        elif kinds and "normal" not in kinds:
            where, index = f"{where} AND verdict <> 'normal'", "INDEXED BY verdicts_amiss"
        query = f"{_ENTRY} {index} WHERE {where} ORDER BY seq DESC LIMIT ?"
        return self._entries(self._rows(query, *values, count))

    def entry(self, line: str, seq: int) -> Entry:
        """One verdict.

        Raises:
            UnknownVerdictError: it is not in the history.
        """
        return self._entries([self._known(_ENTRY, line, seq)])[0]

    def payload(self, line: str, seq: int) -> dict[str, Any]:
        """One verdict as it was issued, with all of its JSON.

        Raises:
            UnknownVerdictError: it is not in the history.
        """
        with self._as_written():
            payload: dict[str, Any] = json.loads(self._known("SELECT payload FROM verdicts", line, seq)[0])
        return payload

    def scores(
        self,
        line: str,
        *,
        since: datetime | None,
        until: datetime | None,
        fingerprint: str,
        pack_sha256: str,
        bank_revision: int,
        basis: str | None = None,
        tiles: str | None = None,
        number: int = FIRST,
        kinds: Collection[str] = ("normal", "anomaly"),
    ) -> list[ScoredPart]:
        """The parts that this model judged by this pack and bank in these tiles, the oldest first.

        `basis` is that of the recipe: what the model judged them by besides, such as windows and region; `number` is
        the recipe's. Parts of before there were recipes are of the first one.
        """
        where, values = _where(line, since, until, kinds)
        rows = self._rows(
            f"SELECT seq, score, peak FROM verdicts WHERE {where} AND score IS NOT NULL AND peak IS NOT NULL"
            " AND fingerprint = ? AND pack_sha256 = ? AND bank_revision = ?"
            " AND json_extract(payload, '$.recipe.basis') IS ?"
            " AND coalesce(json_extract(payload, '$.recipe.tiles'), '') = ?"
            " AND coalesce(json_extract(payload, '$.recipe.number'), ?) = ? ORDER BY seq",
            *values,
            fingerprint,
            pack_sha256,
            bank_revision,
            basis,
            tiles or "",
            FIRST,
            number,
        )
        return [ScoredPart(*row) for row in rows]

    def for_review(self, line: str) -> list[int]:
        """The numbers of the line's verdicts that asked for a person's review, the oldest first."""
        query = "SELECT seq FROM verdicts INDEXED BY verdicts_for_review WHERE line = ? AND review <> 0 ORDER BY seq"
        return [int(seq) for (seq,) in self._rows(query, line)]

    def export(self, target: Path, line: str, *, since: datetime | None = None, until: datetime | None = None) -> int:
        """Writes the line's verdicts, the oldest first, to the file `target`, which is there only when it is whole.

        Args:
            target: A `.csv` or `.parquet` file. In CSV a part_id that a spreadsheet would take for a formula has an
                apostrophe before it.
            line: Its name.
            since: Issued then or later.
            until: Issued before.

        Returns:
            How many they are.

        Raises:
            ExportError: it is of another kind, it cannot be written, or Parquet needs a package that is missing.
        """
        kinds = {".csv": _csv, ".parquet": _parquet}
        if target.suffix.lower() not in kinds:
            raise ExportError(f"{target}: name a file that ends in {' or '.join(kinds)}")
        count = 0
        try:
            remove_drafts(target.parent, target.name)
            with replacing(target) as draft, kinds[target.suffix.lower()](draft) as write:
                for batch in self._batches(line, since, until):
                    write(batch)
                    count += len(batch)
        except OSError as error:
            raise ExportError(f"{target}: {error.strerror or error}; name a file that can be written") from error
        return count

    def backup(self, folder: Path, at: datetime) -> Path:
        """Copies all that is committed now into `folder`, as a backup of the moment `at`; returns the copy."""
        with self._open() as database:
            database.backup(folder / FILE, mark_copy(at))
        return folder / FILE

    def _batches(self, line: str, since: datetime | None, until: datetime | None) -> Iterator[list[Entry]]:
        where, values = _where(line, since, until)
        found = self._rows(f"SELECT min(seq), max(seq) FROM verdicts WHERE {where}", *values)
        after, last = (found[0][0] or 1) - 1, found[0][1] or 0
        # `+`: by number, not by time, or each batch would sort all that there are.
        where = where.replace("issued_at", "+issued_at")
        query = f"{_ENTRY} WHERE {where} AND seq > ? AND seq <= ? ORDER BY seq LIMIT ?"
        while batch := self._entries(self._rows(query, *values, after, last, _BATCH)):
            yield batch
            after = batch[-1].seq

    def _known(self, what: str, line: str, seq: int) -> Any:
        found = self._rows(f"{what} WHERE line = ? AND seq = ?", line, seq)
        if not found:
            last = self.last_seq(line)
            raise UnknownVerdictError(f"verdict {seq} of line {line} is not in the history, which ends with {last}")
        return found[0]

    def _entries(self, rows: list[Any]) -> list[Entry]:
        with self._as_written():
            return [_entry(row) for row in rows]

    @contextmanager
    def _as_written(self) -> Iterator[None]:
        try:
            yield
        except UnknownVerdictError:
            raise
        except (ValueError, RecursionError) as error:
            text = f"holds what the program does not write ({error}): {restore_remedy(self.path)}"
            raise DatabaseError(f"database {self.path} {text}") from error

    def _rows(self, query: str, *values: Any) -> list[Any]:
        if not os.path.lexists(self.path):
            return []
        try:
            with self._open() as database, database.snapshot():
                return database.tables.conn.execute(query, values).fetchall()
        except (sqlite3.Error, UnicodeError) as error:  # the latter of a message that quotes the file
            raise DatabaseError(
                f"database {self.path}: {error}; is it of this program, and of this version?"
            ) from error

    def _open(self) -> Database:
        try:
            is_there(self.path)
            name = f"{self.path.absolute().as_uri()}?mode=ro"
            return Database(self.path, sqlite3.connect(name, uri=True, timeout=_BUSY))
        except (OSError, sqlite3.OperationalError) as error:
            remedy = "check that it exists, and that this user may read it and write to its folder"
            raise DatabaseError(f"database {self.path}: {error}; {remedy}") from error


def _where(
    line: str, since: datetime | None, until: datetime | None, kinds: Collection[str] = ()
) -> tuple[str, list[Any]]:
    """A condition, and its values."""
    where, values = "line = ?", [line]
    for sign, when in ((">=", since), ("<", until)):
        if when is not None:
            where, values = f"{where} AND issued_at {sign} ?", [*values, iso_ms(when)]
    if kinds:
        where, values = f"{where} AND verdict IN ({', '.join('?' * len(kinds))})", [*values, *kinds]
    return where, values


def _entry(row: Any) -> Entry:
    named = dict(zip(_COLUMNS, row, strict=True))
    flags = {name: bool(named[name]) for name in ("simulated", "provisional")}
    return Entry(**named | flags | {"issued_at": stamp(named["issued_at"])})


@contextmanager
def _csv(draft: Path) -> Iterator[Write]:
    with draft.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, _COLUMNS)
        writer.writeheader()
        yield lambda batch: writer.writerows(_cells(one) for one in batch)


def _cells(entry: Entry) -> dict[str, Any]:
    part = entry.part_id
    safe = f"'{part}" if part is not None and part.startswith(_FORMULA) else part
    return entry.to_dict() | {"part_id": safe, "simulated": int(entry.simulated), "provisional": int(entry.provisional)}


@contextmanager
def _parquet(draft: Path) -> Iterator[Write]:
    try:
        arrow, parquet = importlib.import_module("pyarrow"), importlib.import_module("pyarrow.parquet")
    except ImportError as error:
        raise ExportError(f"Parquet needs pyarrow: {extra('parquet')}; or name a .csv file") from error
    kinds = {"int": arrow.int64(), "bool": arrow.bool_(), "datetime": arrow.timestamp("ms", tz="UTC")}
    kinds |= {"float": arrow.float64(), "str": arrow.string()}
    schema = arrow.schema([(one.name, kinds[str(one.type).partition(" ")[0]]) for one in fields(Entry)])
    with parquet.ParquetWriter(draft, schema) as writer:
        yield lambda batch: writer.write_table(arrow.Table.from_pylist([vars(one) for one in batch], schema))
