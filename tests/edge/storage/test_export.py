"""An export has all that a verdict says and what was said of it, oldest first, as other programs read it."""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from core.database.database import DatabaseError
from edge.messages import Bank, Heatmap, Recipe, Region, Scores
from edge.settings import HistorySettings
from edge.storage.export import COLUMNS, ExportError, export
from edge.storage.feedback import FeedbackLog
from edge.storage.history import History
from edge.storage.outbox import Outbox
from edge.storage.settings_database import SettingsDatabase
from tests.support.mosquitto import eventually
from tests.support.verdicts import failure, verdict

BEGIN = datetime(2026, 1, 31, 22, 30, tzinfo=timezone.utc)
NOTE = "=cmd|' /C calc'!A0"


def at(minutes: float) -> datetime:
    return BEGIN + timedelta(minutes=minutes)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six verdicts a minute apart: the third an anomaly that was a false alarm, the fourth an error, the fifth late."""
    folder = tmp_path_factory.mktemp("state")
    box = Outbox(folder, HistorySettings())
    box.start()
    for seq in range(1, 7):
        changes: dict[str, Any] = {"issued_at": at(seq), "captured_at": at(seq - 0.01), "score": seq / 100}
        if seq == 3:
            regions = [
                Region(
                    x=1, y=2, width=9, height=8, area=50, score=0.9, peak=(3, 4), position="left", descriptor="dent"
                ),
                Region(x=20, y=20, width=9, height=9, area=80, score=0.7, peak=(24, 25), position="centre"),
            ]
            changes |= {
                "verdict": "anomaly",
                "regions": regions,
                "scores": Scores(global_=0.1, local=0.2, memory=0.3),
                "heatmap": Heatmap(topic="t", archive="one/3", x=0, y=0, width=9, height=9, max=0.9, peak=(3, 4)),
                "bank": Bank(shots=4, revision=5),
                "simulated": True,
                "provisional": True,
                "duplicate": True,
                "generation": 2,
            }
        one = verdict("one", seq, f"part {seq}", **changes)
        kept = box.issue(one if seq != 4 else failure("one", 4).model_copy(update={"issued_at": at(4)})).result()
        box.delivered("one", kept.id, late=seq == 5)
    eventually(lambda: box.depth("one").count == 0)
    box.stop()
    state = SettingsDatabase(folder)
    state.start()
    for note in ("at first", NOTE):  # of what is said of one verdict the last counts
        state.run(
            lambda tables, note=note: tables.feed_back(
                "one", 3, "false_alarm", who="eva", note=note, shot=None, picture=None
            )
        )
    state.stop()
    return folder


def exported(folder: Path, target: Path, line: str = "one", **asked: Any) -> int:
    return export(target, History(folder), FeedbackLog(folder), line, **asked)


def rows(path: Path) -> list[dict[str, str]]:
    assert path.read_bytes().startswith(b"\xef\xbb\xbf")  # by which spreadsheets know UTF-8
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def test_a_row_has_all_of_a_verdict_and_what_was_said_of_it(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge.storage.history._BATCH", 2)
    target = tmp_path / "all.csv"
    target.write_text("an earlier one")
    assert exported(folder, target, zone=ZoneInfo("Europe/Berlin")) == 6
    found = rows(target)
    assert [int(row["seq"]) for row in found] == [*range(1, 7)]
    assert [*found[0]] == [*COLUMNS]
    assert found[2] | {"id": "", "feedback_at": ""} == {
        "line": "one",
        "seq": "3",
        "generation": "2",
        "id": "",
        "captured_at": "2026-01-31T22:32:59.400Z",
        "captured_local": "2026-01-31T23:32:59.400+01:00",
        "issued_at": "2026-01-31T22:33:00.000Z",
        "issued_local": "2026-01-31T23:33:00.000+01:00",
        "mode": "trigger",
        "part_id": "part 3",
        "duplicate": "1",
        "verdict": "anomaly",
        "error_code": "",
        "historical": "0",
        "provisional": "1",
        "review": "0",
        "recipe": "tile",
        "recipe_revision": "",
        "pack": "tile",
        "pack_version": "1.2",
        "threshold": "0.5",
        "threshold_source": "uncalibrated",
        "score": "0.03",
        "score_global": "0.1",
        "score_local": "0.2",
        "score_memory": "0.3",
        "peak": "0.9",
        "regions": "2",
        "largest_region": "80",
        "region_position": "left",
        "region_descriptor": "dent",
        "feedback": "false_alarm",
        "feedback_note": f"'{NOTE}",
        "feedback_by": "eva",
        "feedback_at": "",
        "shots": "4",
        "bank_revision": "5",
        "model": "untrained",
        "fingerprint": "f" * 64,
        "pack_sha256": "a" * 64,
        "total_ms": "34.0",
        "simulated": "1",
        "archive": "one/3",
    }
    assert [row["historical"] for row in found] == ["0", "0", "0", "0", "1", "0"]
    error = found[3]
    assert (error["verdict"], error["error_code"], error["captured_at"], error["score"]) == (
        "error",
        "deadline",
        "",
        "",
    )
    assert (error["regions"], found[0]["regions"], found[0]["feedback"]) == ("", "0", "")
    assert [path.name for path in tmp_path.iterdir()] == ["all.csv"]


def test_a_stretch_is_a_part_of_it(folder: Path, tmp_path: Path) -> None:
    target = tmp_path / "all.csv"
    assert exported(folder, target, since=at(2), until=at(4)) == 2
    assert [row["seq"] for row in rows(target)] == ["2", "3"]
    assert exported(folder, target, "none") == 0
    assert rows(target) == []


def test_parquet_has_types(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from pyarrow import parquet

    monkeypatch.setattr("edge.storage.history._BATCH", 2)
    target = tmp_path / "all.parquet"
    assert exported(folder, target) == 6
    found = parquet.read_table(target).to_pylist()
    assert [*found[0]] == [*COLUMNS]
    for name, kind in COLUMNS.items():
        assert {type(row[name]) for row in found} <= {kind, type(None)}, name
    assert (found[2]["issued_at"], found[2]["feedback_note"], found[2]["historical"]) == (at(3), NOTE, False)
    assert exported(folder, target, "none") == 0
    assert parquet.read_table(target).num_rows == 0


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Outbox]:
    made = Outbox(tmp_path / "state", HistorySettings())
    made.start()
    yield made
    made.stop()


@pytest.mark.parametrize(
    ("part", "cell"),
    [
        ("=1+1", "'=1+1"),
        ("+1", "'+1"),
        ("-1", "'-1"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("\t=1", "'\t=1"),
        ("\uff1d1+1", "'\uff1d1+1"),
        ("a;=1+1", "a;'=1+1"),  # where semicolons part cells
        ("a\n =1+1", "a\n' =1+1"),
        ('a=b, "c"\nd; e-f', 'a=b, "c"\nd; e-f'),
    ],
)
def test_no_text_is_a_formula(box: Outbox, part: str, cell: str) -> None:
    recipe = Recipe(pack=part, pack_version="1", pack_sha256="a" * 64, threshold_source=part)
    box.issue(verdict("one", 1, part, recipe=recipe)).result()
    target = box.path.parent / "parts.csv"
    exported(box.path.parent, target)
    [row] = rows(target)
    assert {row["part_id"], row["pack"], row["recipe"], row["threshold_source"]} == {cell}


def test_a_verdict_names_its_recipe_where_it_has_one(box: Outbox) -> None:
    kept = box.issue(verdict("one", 1)).result()
    box._writer.run(
        lambda database: database.database.tables.execute(
            "UPDATE verdicts SET payload = json_set(payload, '$.recipe.name', 'bottle 0.5 l', '$.recipe.revision', 7)"
        )
    )
    assert kept.recipe.pack == "tile"
    target = box.path.parent / "parts.csv"
    exported(box.path.parent, target)
    [row] = rows(target)
    assert (row["recipe"], row["recipe_revision"], row["pack"]) == ("bottle 0.5 l", "7", "tile")


def test_an_export_that_fails_leaves_what_was_there(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "all.csv"
    target.write_text("an earlier one")
    for wrong in ("all.xlsx", "all"):
        with pytest.raises(ExportError, match=rf"{wrong}: name a file that ends in \.csv or \.parquet"):
            exported(folder, tmp_path / wrong)
    with pytest.raises(ExportError, match="Not a directory; name a file that can be written"):
        exported(folder, target / "all.csv")

    def broken(*_: Any) -> Any:
        raise DatabaseError("the disk went away")

    monkeypatch.setattr(History, "stretch", broken)
    with pytest.raises(DatabaseError):
        exported(folder, target)
    assert target.read_text() == "an earlier one"
    assert [one.name for one in tmp_path.iterdir()] == ["all.csv"]


def test_parquet_without_its_package_says_how_to_get_it(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ExportError, match=r"pip install .*\[parquet\]"):
        exported(folder, tmp_path / "all.parquet")
    assert list(tmp_path.iterdir()) == []
