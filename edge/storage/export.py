"""Verdicts and what was said of them as a table: a `.csv` or `.parquet` file for other programs."""

from __future__ import annotations

import csv
import importlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, tzinfo
from pathlib import Path
from typing import Any, TypeAlias

from core.files import remove_drafts, replacing
from core.remedy import extra
from edge.storage.feedback import Feedback, FeedbackLog
from edge.storage.history import History, recipe_name
from edge.storage.spreadsheet import cell
from edge.storage.verdict_tables import stamp

Write: TypeAlias = Callable[[Iterable[Mapping[str, Any]]], Any]

COLUMNS: dict[str, type] = {
    "line": str,
    "seq": int,
    "generation": int,
    "id": str,
    "captured_at": datetime,
    "captured_local": str,
    "issued_at": datetime,
    "issued_local": str,
    "mode": str,
    "part_id": str,
    "duplicate": bool,
    "verdict": str,
    "error_code": str,
    "historical": bool,
    "provisional": bool,
    "review": bool,
    "recipe": str,
    "recipe_revision": int,
    "pack": str,
    "pack_version": str,
    "threshold": float,
    "threshold_source": str,
    "score": float,
    "score_global": float,
    "score_local": float,
    "score_memory": float,
    "peak": float,
    "regions": int,
    "largest_region": int,
    "region_position": str,
    "region_descriptor": str,
    "feedback": str,
    "feedback_note": str,
    "feedback_by": str,
    "feedback_at": datetime,
    "shots": int,
    "bank_revision": int,
    "model": str,
    "fingerprint": str,
    "pack_sha256": str,
    "total_ms": float,
    "simulated": bool,
    "archive": str,
}
"""The columns of an export, and what they hold; each cell may be empty. README.md says what they mean."""


class ExportError(RuntimeError):
    """The file cannot be written; the message says what to do."""


def export(
    target: Path,
    history: History,
    feedback: FeedbackLog,
    line: str,
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    zone: tzinfo | None = None,
) -> int:
    """Writes the line's verdicts, the oldest first, to the file `target`, which is there only when it is whole.

    Args:
        target: A `.csv` file, UTF-8 with a byte order mark; text that a spreadsheet would take for a formula has an
            apostrophe before it. Or a `.parquet` file.
        history: Of the verdicts.
        feedback: What was said of them.
        line: Its name.
        since: Issued then or later.
        until: Issued before.
        zone: Of the local times; None: the machine's.

    Returns:
        How many they are.

    Raises:
        ExportError: it is of another kind, it cannot be written, or Parquet needs a package that is missing.
        DatabaseError: history or feedback cannot be read.
    """
    kinds = {".csv": _csv, ".parquet": _parquet}
    if target.suffix.lower() not in kinds:
        raise ExportError(f"{target}: name a file that ends in {' or '.join(kinds)}")
    count, said = 0, feedback.of(line)
    try:
        remove_drafts(target.parent, target.name)
        with replacing(target) as draft, kinds[target.suffix.lower()](draft) as write:
            for batch in history.stretch(line, since, until):
                write([row_of(payload, late, said.get(payload["seq"]), zone) for payload, late in batch])
                count += len(batch)
    except OSError as error:
        raise ExportError(f"{target}: {error.strerror or error}; name a file that can be written") from error
    return count


def row_of(
    verdict: Mapping[str, Any], historical: bool, feedback: Feedback | None, zone: tzinfo | None
) -> dict[str, Any]:
    """A verdict as it was issued, as a row of `COLUMNS`; times are aware, and in UTC."""
    scores, recipe, regions = verdict.get("scores", {}), verdict["recipe"], verdict.get("regions", ())
    heatmap, worst = verdict.get("heatmap", {}), regions[0] if regions else {}
    captured = stamp(verdict["captured_at"]) if "captured_at" in verdict else None
    issued = stamp(verdict["issued_at"])
    return {
        "line": verdict["line"],
        "seq": verdict["seq"],
        "generation": verdict.get("generation", 1),
        "id": verdict["id"],
        "captured_at": captured,
        "captured_local": _local(captured, zone),
        "issued_at": issued,
        "issued_local": _local(issued, zone),
        "mode": verdict["mode"],
        "part_id": verdict.get("part_id"),
        "duplicate": verdict.get("duplicate", False),
        "verdict": verdict["verdict"],
        "error_code": verdict.get("error", {}).get("code"),
        "historical": historical,
        "provisional": verdict.get("provisional", False),
        "review": verdict.get("review", False),
        "recipe": recipe_name(recipe),
        "recipe_revision": recipe.get("revision"),
        "pack": recipe["pack"],
        "pack_version": recipe["pack_version"],
        "threshold": verdict["threshold"],
        "threshold_source": recipe["threshold_source"],
        "score": verdict.get("score"),
        "score_global": scores.get("global"),
        "score_local": scores.get("local"),
        "score_memory": scores.get("memory"),
        "peak": heatmap.get("max"),
        "regions": len(regions) if scores else None,
        "largest_region": max((region["area"] for region in regions), default=None),
        "region_position": worst.get("position"),
        "region_descriptor": worst.get("descriptor"),
        "feedback": feedback.kind if feedback else None,
        "feedback_note": feedback.note if feedback else None,
        "feedback_by": feedback.who if feedback else None,
        "feedback_at": feedback.at if feedback else None,
        "shots": verdict.get("bank", {}).get("shots"),
        "bank_revision": verdict.get("bank", {}).get("revision"),
        "model": verdict["model"]["name"],
        "fingerprint": verdict["model"]["fingerprint"],
        "pack_sha256": recipe["pack_sha256"],
        "total_ms": verdict.get("timing_ms", {}).get("total"),
        "simulated": verdict.get("simulated", False),
        "archive": heatmap.get("archive"),
    }


def _local(moment: datetime | None, zone: tzinfo | None) -> str | None:
    return None if moment is None else moment.astimezone(zone).isoformat(timespec="milliseconds")


def write_csv(target: Path, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Writes a table as `export` does, with some of what the rows have.

    Raises:
        OSError: it cannot be written.
    """
    with _table(target, columns) as write:
        write(rows)


@contextmanager
def _csv(draft: Path) -> Iterator[Write]:
    with _table(draft, [*COLUMNS]) as write:
        yield write


@contextmanager
def _table(file: Path, columns: Sequence[str]) -> Iterator[Write]:
    # Without a mark spreadsheets take UTF-8 for their own code page.
    with file.open("w", encoding="utf-8-sig", newline="") as opened:
        writer = csv.writer(opened)
        writer.writerow(columns)
        yield lambda rows: writer.writerows([cell(row[name]) for name in columns] for row in rows)


@contextmanager
def _parquet(draft: Path) -> Iterator[Write]:
    try:
        arrow, parquet = importlib.import_module("pyarrow"), importlib.import_module("pyarrow.parquet")
    except ImportError as error:
        raise ExportError(f"Parquet needs pyarrow: {extra('parquet')}; or name a .csv file") from error
    kinds = {int: arrow.int64(), bool: arrow.bool_(), datetime: arrow.timestamp("ms", tz="UTC")}
    kinds |= {float: arrow.float64(), str: arrow.string()}
    schema = arrow.schema([(name, kinds[kind]) for name, kind in COLUMNS.items()])
    with parquet.ParquetWriter(draft, schema) as writer:
        yield lambda rows: writer.write_table(arrow.Table.from_pylist([*rows], schema))
