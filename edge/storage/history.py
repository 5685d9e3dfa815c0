"""What was judged, read beside the running service or without one: verdicts, scores, exports."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from core.database.database import DatabaseError
from core.database.error import restore_remedy
from edge.clock import iso_ms, monotonic
from edge.settings_recipe import FIRST
from edge.storage.facts import mark_copy
from edge.storage.reader import DatabaseReader
from edge.storage.verdict_choice import RECIPE, Choice, in_stretch
from edge.storage.verdict_tables import FILE, stamp

# Rows that are read at a time, with and without all of their JSON: a long read would keep the writer's log from being
# emptied.
_BATCH, _MANY = 1000, 20_000


class UnknownVerdictError(LookupError, ValueError):
    """The line's history has no verdict of this number."""


@dataclass(frozen=True)
class Entry:
    """A verdict of the history; `History.payload` has the rest of it.

    Attributes:
        peak: The largest value of its heatmap.
        archive: Path of its picture below the archive's root.
        recipe: By which it was judged: its name, or that of the pack where the verdict names none.
        reason: Of an error: what was wrong. Else what of the pack the part was likest, where the verdict says so.
        defect: What of the pack its worst region was likest; position: where in the picture that region is.
        total_ms: From the grab to the issue, milliseconds.
        provisional: Whether the threshold was neither calibrated nor set by hand.
        historical: Whether the broker had it late.
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
    historical: bool
    recipe: str
    reason: str | None
    defect: str | None
    position: str | None

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it; the stamp is ISO 8601 in UTC with milliseconds."""
        return vars(self) | {"issued_at": iso_ms(self.issued_at)}


def recipe_name(recipe: Mapping[str, Any]) -> str:
    """By what a verdict's recipe is known: its name, or that of the pack where it has none."""
    return str(recipe.get("name") or recipe["pack"])


def recipe_number(recipe: Mapping[str, Any]) -> int:
    """The number of a verdict's recipe on its line: of one from before there were numbers, that of the first recipe."""
    return int(recipe.get("number") or FIRST)


class Page(NamedTuple):
    """Some verdicts, the newest first, and the `Choice.before` of the next page; None: there is no older one."""

    entries: list[Entry]
    before: int | None


class Minute(NamedTuple):
    """When a part was judged, by what, and how.

    Attributes:
        at: UTC, as `2026-01-31T06:00`.
        recipe: As of `Entry`.
        verdict: `normal`, `anomaly` or `error`.
    """

    at: str
    recipe: str
    verdict: str


class ScoredPart(NamedTuple):
    """What was scored: the number of the verdict or of the shot, S, and the peak of the heatmap."""

    number: int
    score: float
    peak: float


_COLUMNS = tuple(one.name for one in fields(Entry))
_MINUTE = f"substr(issued_at, 1, 16), {RECIPE}, verdict"
_MADE = {  # the rest are in the row
    "provisional": "coalesce(json_extract(payload, '$.provisional'), 0) AS provisional",
    "recipe": f"{RECIPE} AS recipe",
    "reason": "coalesce(json_extract(payload, '$.error.message'), json_extract(payload, '$.explanation[0].text'))"
    " AS reason",
    "defect": "json_extract(payload, '$.regions[0].descriptor') AS defect",
    "position": "json_extract(payload, '$.regions[0].position') AS position",
}
_ENTRY = f"SELECT {', '.join(_MADE.get(name, name) for name in _COLUMNS)} FROM verdicts"


class History:
    """The verdicts in a state's folder. Any thread and any process may read them, beside the one that writes.

    Every method raises DatabaseError where the file cannot be read.
    """

    def __init__(self, folder: Path) -> None:
        """`folder`: where it has no `verdicts.db` yet, there are no verdicts."""
        self.path = folder / FILE
        self._reader = DatabaseReader(self.path)

    def lines(self) -> list[str]:
        """The lines that have issued verdicts."""
        return [line for (line,) in self._reader.rows("SELECT line FROM lines ORDER BY line")]

    def last_seq(self, line: str) -> int:
        """The sequence number of the line's last verdict; 0 for a new line."""
        found = self._reader.rows("SELECT seq FROM lines WHERE line = ?", line)
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
        """The line's last verdicts, the newest first: as `page`, however long it takes."""
        return self.page(line, Choice(since, until, kinds, part_id), count).entries

    def page(self, line: str, choice: Choice = Choice(), count: int = 100, within_s: float = math.inf) -> Page:
        """The newest `count` of the line's verdicts that are chosen, the newest first; fewer where finding them takes
        longer than `within_s` seconds. A part's come all at once: they are found by an index.
        """
        where, values = choice.condition(line)
        if choice.part_id is not None:
            query = f"{_ENTRY} INDEXED BY verdicts_by_part WHERE {where} ORDER BY seq DESC LIMIT ?"
            found = self._entries(self._reader.rows(query, *values, count))
            return Page(found, found[-1].seq if len(found) == count else None)
        first, last = self._numbers(line, choice.since, choice.until)
        if choice.before is not None:
            last = min(last, choice.before - 1)
        # By number, as the newest are wanted, some numbers at a time: a long read would keep the writer's log.
        where, index = where.replace("issued_at", "+issued_at"), ""
        if choice.kinds and "normal" not in choice.kinds:
            where, index = f"{where} AND verdict <> 'normal'", "INDEXED BY verdicts_amiss"
        query = f"{_ENTRY} {index} WHERE {where} AND seq BETWEEN ? AND ? ORDER BY seq DESC LIMIT ?"
        entries: list[Entry] = []
        end = monotonic() + within_s
        while last >= first and len(entries) < count and monotonic() < end:
            low = max(first, last - _MANY + 1)
            entries += self._entries(self._reader.rows(query, *values, low, last, count - len(entries)))
            last = low - 1
        if len(entries) == count:
            last = entries[-1].seq - 1
        return Page(entries, last + 1 if last >= first else None)

    def some(self, line: str, seqs: Collection[int]) -> list[Entry]:
        """Single verdicts, by their numbers, which rise; those that the history does not have are left out."""
        query = f"{_ENTRY} WHERE line = ? AND seq IN (SELECT value FROM json_each(?)) ORDER BY seq"
        return self._entries(self._reader.rows(query, line, json.dumps([*seqs])))

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
        after: int = 0,
    ) -> list[ScoredPart]:
        """The parts that this model judged by this pack and bank in these tiles, the oldest first.

        `basis` is that of the recipe: what the model judged them by besides, such as windows and region; `number` is
        the recipe's. Parts of before there were recipes are of the first one. Of these the ones with a number above
        `after`.
        """
        where, values = in_stretch(line, since, until, kinds)
        rows = self._reader.rows(
            f"SELECT seq, score, peak FROM verdicts WHERE {where} AND seq > ?"
            " AND score IS NOT NULL AND peak IS NOT NULL AND fingerprint = ? AND pack_sha256 = ? AND bank_revision = ?"
            " AND json_extract(payload, '$.recipe.basis') IS ?"
            " AND coalesce(json_extract(payload, '$.recipe.tiles'), '') = ?"
            " AND coalesce(json_extract(payload, '$.recipe.number'), ?) = ? ORDER BY seq",
            *values,
            after,
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
        return [int(seq) for (seq,) in self._reader.rows(query, line)]

    def stretch(
        self, line: str, since: datetime | None = None, until: datetime | None = None
    ) -> Iterator[list[tuple[dict[str, Any], bool]]]:
        """All verdicts of a stretch, the oldest first, some at a time: each as it was issued, and whether it was late.

        Args:
            line: Its name.
            since: Issued then or later.
            until: Issued before.
        """
        query = "SELECT payload, historical, seq FROM verdicts"
        for batch in self._batches(query, line, since, until, _BATCH):
            with self._as_written():
                yield [(json.loads(payload), bool(historical)) for payload, historical, _ in batch]

    def counts(self, line: str, since: datetime | None = None, until: datetime | None = None) -> Counter[Minute]:
        """How many parts were judged, by the minute in which their verdict was issued, their recipe and the verdict.

        The recipe is known by its name, or, where the verdict names none, by its pack. Errors judge nothing.
        """
        found = Counter[Minute]()
        for batch in self._batches(f"SELECT {_MINUTE}, seq FROM verdicts", line, since, until, _MANY):
            found.update(Minute(*row[:-1]) for row in batch if row[2] != "error")
        return found

    def recipe_numbers(self, line: str, seqs: Collection[int]) -> dict[int, int]:
        """The numbers of the recipes of single verdicts, as `recipe_number`; those that it lacks are left out."""
        query = "SELECT seq, payload FROM verdicts WHERE line = ? AND seq IN (SELECT value FROM json_each(?))"
        rows = self._reader.rows(query, line, json.dumps([*seqs]))
        with self._as_written():
            return {seq: recipe_number(json.loads(payload)["recipe"]) for seq, payload in rows}

    def minutes(
        self, line: str, seqs: Collection[int], since: datetime | None = None, until: datetime | None = None
    ) -> dict[int, Minute]:
        """The same of single verdicts, by their numbers; those that the history does not have are left out."""
        where, values = in_stretch(line, since, until)
        query = f"SELECT seq, {_MINUTE} FROM verdicts WHERE {where} AND seq IN (SELECT value FROM json_each(?))"
        return {seq: Minute(*row) for seq, *row in self._reader.rows(query, *values, json.dumps([*seqs]))}

    def backup(self, folder: Path, at: datetime) -> Path:
        """Copies all that is committed now into `folder`, as a backup of the moment `at`; returns the copy."""
        with self._reader.open() as database:
            database.backup(folder / FILE, mark_copy(at))
        return folder / FILE

    def _batches(
        self, query: str, line: str, since: datetime | None, until: datetime | None, many: int
    ) -> Iterator[list[Any]]:
        """The rows of a query whose last column is `seq`, so many at a time."""
        where, values = in_stretch(line, since, until)
        first, last = self._numbers(line, since, until)
        after = first - 1
        # `+`: by number, not by time, or each batch would sort all that there are.
        where = where.replace("issued_at", "+issued_at")
        query = f"{query} WHERE {where} AND seq > ? AND seq <= ? ORDER BY seq LIMIT ?"
        while batch := self._reader.rows(query, *values, after, last, many):
            yield batch
            after = batch[-1][-1]

    def _numbers(self, line: str, since: datetime | None, until: datetime | None) -> tuple[int, int]:
        """The lowest and the highest number of a stretch; 1 and 0 where it has none."""
        where, values = in_stretch(line, since, until)
        query = f"SELECT min(seq), max(seq) FROM verdicts WHERE {where}"
        if since is None and until is None:  # each of the two alone is at an end of the index
            query = (
                f"SELECT (SELECT min(seq) FROM verdicts WHERE {where}), (SELECT max(seq) FROM verdicts WHERE {where})"
            )
            values = values * 2
        found = self._reader.rows(query, *values)
        return found[0] if found and found[0][0] is not None else (1, 0)

    def _known(self, what: str, line: str, seq: int) -> Any:
        found = self._reader.rows(f"{what} WHERE line = ? AND seq = ?", line, seq)
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


def _entry(row: Any) -> Entry:
    named = dict(zip(_COLUMNS, row, strict=True))
    flags = {name: bool(named[name]) for name in ("simulated", "provisional", "historical")}
    return Entry(**named | flags | {"issued_at": stamp(named["issued_at"])})
