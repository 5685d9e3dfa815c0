"""The history is read beside the writer or without it, and found by time, kind and part."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from core.database.database import DatabaseError
from edge.cli.history import history
from edge.clock import iso_ms, utc_now
from edge.messages import Bank, Heatmap, Region
from edge.settings import HistorySettings
from edge.storage.history import Entry, History, Minute, UnknownVerdictError
from edge.storage.outbox import Outbox
from edge.storage.verdict_tables import FILE
from tests.support.mosquitto import eventually
from tests.support.verdicts import RECIPE, failure, verdict

BEGIN = datetime(2026, 1, 31, 6, tzinfo=timezone.utc)
HASHES = {"fingerprint": "f" * 64, "pack_sha256": "a" * 64}


def at(minutes: float) -> datetime:
    return BEGIN + timedelta(minutes=minutes)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve verdicts a minute apart: the 4th and 8th anomalous, the 6th an error; from the 10th on of another bank."""
    folder = tmp_path_factory.mktemp("state")
    box = Outbox(folder, HistorySettings())
    box.start()
    for seq in range(1, 13):
        part, issued = f"part {seq % 5}", at(seq)
        changes: dict[str, Any] = {"issued_at": issued, "score": seq / 100, "bank": Bank(shots=4, revision=seq // 10)}
        if seq in (4, 8):
            place = Heatmap(topic="t", archive=f"one/{seq}", x=0, y=0, width=9, height=9, max=0.9, peak=(3, 4))
            changes |= {"verdict": "anomaly", "heatmap": place, "simulated": True, "provisional": seq == 8}
        one = verdict("one", seq, part, **changes)
        box.issue(one if seq != 6 else failure("one", 6, part).model_copy(update={"issued_at": issued})).result()
    box.issue(verdict("two", 1, "=HYPERLINK(1)", issued_at=at(3))).result()
    box.stop()
    return folder


@pytest.fixture
def kept(folder: Path) -> History:
    return History(folder)


def seqs(entries: list[Entry]) -> list[int]:
    return [one.seq for one in entries]


def test_an_entry_is_what_was_issued(kept: History) -> None:
    one = kept.entry("one", 8)
    assert (one.line, one.seq, one.mode, one.part_id) == ("one", 8, "trigger", "part 3")
    assert (one.verdict, one.error_code) == ("anomaly", None)
    assert (one.issued_at, one.score, one.peak, one.threshold, one.total_ms) == (at(8), 0.08, 0.9, 0.5, 34.0)
    assert (one.pack_sha256, one.fingerprint, one.bank_revision) == ("a" * 64, "f" * 64, 0)
    assert (one.archive, one.simulated, one.provisional) == ("one/8", True, True)
    assert not kept.entry("one", 4).provisional
    wrong = kept.entry("one", 6)
    assert (wrong.verdict, wrong.error_code, wrong.simulated) == ("error", "deadline", False)
    assert wrong.score is wrong.peak is wrong.total_ms is None
    payload = kept.payload("one", 8)
    assert (payload["id"], payload["seq"], payload["bank"]) == (one.id, 8, {"shots": 4, "revision": 0})
    shown = one.to_dict()
    assert json.loads(json.dumps(shown)) == shown
    assert shown["issued_at"] == "2026-01-31T06:08:00.000Z" == payload["issued_at"]


def test_a_verdict_that_is_not_there_is_named(kept: History) -> None:
    for read in (kept.entry, kept.payload):
        with pytest.raises(UnknownVerdictError, match=r"verdict 13 of line one is not .* ends with 12"):
            read("one", 13)
    with pytest.raises(LookupError, match="line none"):
        kept.entry("none", 1)


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ({}, [*range(12, 0, -1)]),
        ({"count": 3}, [12, 11, 10]),
        ({"since": at(10)}, [12, 11, 10]),
        ({"until": at(3)}, [2, 1]),
        ({"since": at(3), "until": at(6)}, [5, 4, 3]),
        ({"since": at(3), "until": at(9), "count": 2}, [8, 7]),
        ({"kinds": ["anomaly"]}, [8, 4]),
        ({"kinds": ["anomaly", "error"]}, [8, 6, 4]),
        ({"kinds": ["normal", "error"], "count": 4}, [12, 11, 10, 9]),
        ({"kinds": ["anomaly"], "since": at(5)}, [8]),
        ({"part_id": "part 3"}, [8, 3]),
        ({"part_id": "part 3", "kinds": ["anomaly"], "until": at(9)}, [8]),
        ({"part_id": "part 9"}, []),
        ({"since": at(10).astimezone(timezone(timedelta(hours=5)))}, [12, 11, 10]),
    ],
)
def test_verdicts_are_found_newest_first(kept: History, asked: dict[str, Any], found: list[int]) -> None:
    assert seqs(kept.verdicts("one", **asked)) == found


def test_scores_are_of_one_model_pack_and_bank(kept: History) -> None:
    def scores(**changes: Any) -> list[tuple[int, float, float]]:
        return kept.scores(
            "one", **{"since": None, "until": None, "bank_revision": 0, "basis": None, **HASHES} | changes
        )

    assert scores() == [(seq, seq / 100, 0.9 if seq in (4, 8) else 0.4) for seq in (1, 2, 3, 4, 5, 7, 8, 9)]
    assert scores(bank_revision=1) == [(seq, seq / 100, 0.4) for seq in (10, 11, 12)]
    assert scores(since=at(3), until=at(7), kinds=["normal"]) == [(3, 0.03, 0.4), (5, 0.05, 0.4)]
    assert scores(kinds=["error"]) == scores(fingerprint="0") == scores(pack_sha256="0") == scores(basis="0") == []


def test_scores_in_other_tiles_are_others(tmp_path: Path) -> None:
    """A part in tiles scores higher: a threshold from parts without tiles would promise nothing."""
    box = Outbox(tmp_path, HistorySettings())
    box.start()
    for seq, tiles in enumerate((None, "2x4@0.2", "2x4@0.1"), 1):
        recipe = RECIPE.model_copy(update={"tiles": tiles})
        box.issue(verdict("one", seq, f"part {seq}", score=seq / 100, recipe=recipe)).result()
    box.stop()
    stretch: dict[str, Any] = {"since": None, "until": None, "bank_revision": 0, **HASHES}
    found = {tiles: History(tmp_path).scores("one", **stretch, tiles=tiles) for tiles in (None, "2x4@0.2", "1x1@0")}
    assert found == {None: [(1, 0.01, 0.4)], "2x4@0.2": [(2, 0.02, 0.4)], "1x1@0": []}


def test_a_verdict_of_an_earlier_version_is_not_provisional(box: Outbox) -> None:
    box.issue(verdict("one", 1, provisional=True)).result()
    kept = History(box.path.parent)
    assert kept.entry("one", 1).provisional
    with sqlite3.connect(kept.path) as database:
        database.execute("UPDATE verdicts SET payload = json_remove(payload, '$.provisional')")
    database.close()
    assert not kept.entry("one", 1).provisional


def test_parts_are_counted_by_minute_recipe_and_verdict(kept: History) -> None:
    counts = kept.counts("one", since=at(4), until=at(8))
    assert counts == {
        Minute("2026-01-31T06:04", "tile", "anomaly"): 1,
        Minute("2026-01-31T06:05", "tile", "normal"): 1,
        Minute("2026-01-31T06:07", "tile", "normal"): 1,
    }
    assert kept.counts("one").total() == 11  # an error judges nothing
    minutes = kept.minutes("one", [4, 8, 99], until=at(8))
    assert minutes == {4: Minute("2026-01-31T06:04", "tile", "anomaly")}
    assert (kept.counts("none"), kept.minutes("one", [])) == ({}, {})


def test_what_was_amiss_is_in_the_entry(box: Outbox) -> None:
    regions = [
        Region(x=0, y=0, width=9, height=9, area=5, score=0.9, peak=(3, 4), position="top left", descriptor="a mark"),
        Region(x=20, y=20, width=9, height=9, area=80, score=0.7, peak=(24, 25), position="centre"),
    ]
    box.issue(verdict("one", 1, verdict="anomaly", regions=regions)).result()
    box.issue(failure("one", 2)).result()
    found = {entry.seq: entry for entry in History(box.path.parent).verdicts("one")}
    assert (found[1].reason, found[1].defect, found[1].position) == ("flawless tile", "a mark", "top left")
    assert (found[2].reason, found[2].defect, found[2].position) == ("a test", None, None)


def test_that_a_verdict_was_late_is_known_once_the_broker_has_it(box: Outbox) -> None:
    for seq in (1, 2):
        box.delivered("one", box.issue(verdict("one", seq)).result().id, late=seq == 2)
    eventually(lambda: box.depth("one").count == 0)
    assert {entry.seq: entry.historical for entry in History(box.path.parent).verdicts("one")} == {1: False, 2: True}


def test_lines_are_apart(kept: History) -> None:
    assert kept.lines() == ["one", "two"]
    assert (kept.last_seq("one"), kept.last_seq("two"), kept.last_seq("three")) == (12, 1, 0)
    assert seqs(kept.verdicts("two")) == [1]
    assert kept.verdicts("three") == []


def test_where_nothing_was_judged_yet_there_is_nothing(tmp_path: Path) -> None:
    kept = History(tmp_path / "none")
    assert (kept.lines(), kept.last_seq("one"), kept.verdicts("one")) == ([], 0, [])
    with pytest.raises(UnknownVerdictError):
        kept.entry("one", 1)
    with pytest.raises(DatabaseError, match=r"none/verdicts\.db: .*check that it exists"):
        kept.backup(tmp_path, utc_now())
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("content", [b"", b"no database at all " * 500])
def test_a_file_that_is_none_of_ours_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / FILE).write_bytes(content)
    with pytest.raises(DatabaseError, match=r"database .*verdicts\.db"):
        History(tmp_path).verdicts("one")
    assert (tmp_path / FILE).read_bytes() == content


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Outbox]:
    made = Outbox(tmp_path / "state", HistorySettings())
    made.start()
    yield made
    made.stop()


def test_it_is_read_and_backed_up_beside_the_writer(box: Outbox, tmp_path: Path) -> None:
    kept = History(box.path.parent)
    assert kept.verdicts("one") == []
    for seq in (1, 2):
        box.issue(verdict("one", seq)).result()
        assert seqs(kept.verdicts("one")) == [*range(seq, 0, -1)]
    copy = kept.backup(tmp_path, utc_now())
    box.issue(verdict("one", 3)).result()
    assert copy == tmp_path / FILE
    assert (History(tmp_path).last_seq("one"), kept.last_seq("one")) == (2, 3)
    restored = Outbox(tmp_path, HistorySettings())  # a backup is an outbox, too
    restored.start()
    assert (restored.last_seq("one"), restored.depth("one").count) == (2, 2)
    restored.stop()


def test_newest_is_by_number_where_the_wall_clock_went_back(box: Outbox) -> None:
    for seq, minutes in enumerate((60, 61, 2, 3), 1):
        box.issue(verdict("one", seq, issued_at=at(minutes))).result()
    kept = History(box.path.parent)
    assert seqs(kept.verdicts("one", count=2)) == [4, 3]
    assert seqs(kept.verdicts("one", since=at(3))) == [4, 2, 1]
    assert [payload["seq"] for batch in kept.stretch("one", since=at(3)) for payload, _ in batch] == [1, 2, 4]


def test_queries_go_by_an_index(kept: History) -> None:
    """Each names its own, and SQLite refuses one that it cannot use; that none of them sorts all is seen here."""
    with sqlite3.connect(kept.path) as connection:
        plans = {
            index: " ".join(row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {query}"))
            for index, query in {
                "newest": "SELECT * FROM verdicts WHERE line = 'one' ORDER BY seq DESC LIMIT 5",
                "batch": "SELECT * FROM verdicts WHERE line = 'one' AND +issued_at > '2' AND seq > 3 AND seq <= 9"
                " ORDER BY seq LIMIT 5",
                "part": "SELECT * FROM verdicts INDEXED BY verdicts_by_part WHERE line = 'one' AND part_id = 'x'"
                " ORDER BY seq DESC LIMIT 5",
                "page": "SELECT * FROM verdicts WHERE line = 'one' AND +issued_at > '2' AND score > 1"
                " AND seq BETWEEN 3 AND 9 ORDER BY seq DESC LIMIT 5",
            }.items()
        }
    connection.close()
    assert not [index for index, plan in plans.items() if "TEMP B-TREE" in plan or "SCAN" in plan], plans


CONFIG = """
[service]
state_dir = "{folder}"
[lines.one.camera]
source = "sim:tile"
[lines.new.camera]
source = "sim:tile"
"""


@pytest.fixture
def config(folder: Path, tmp_path: Path) -> Path:
    path = tmp_path / "edge.toml"
    path.write_text(CONFIG.format(folder=folder))
    return path


def ask(config: Path, *arguments: str) -> tuple[int, str]:
    app = typer.Typer()
    app.command()(history)
    result = CliRunner().invoke(app, ["--config", str(config), *arguments], env={"COLUMNS": "150"})
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, " ".join(result.output.replace("│", " ").split())


def test_the_command_shows_a_table(config: Path) -> None:
    code, output = ask(config, "--line", "one", "--kind", "anomaly", "--kind", "error")
    assert code == 0
    assert "8 2026-01-31" in output
    assert "part 3 anomaly 0.0800 0.5000 34 ms flawless tile" in output
    assert "part 1 error deadline 0.5000 a test" in output
    assert "normal" not in output
    code, output = ask(config, "--line", "two")  # no longer configured, but remembered
    assert (code, "=HYPERLINK(1)" in output) == (0, True)
    assert ask(config, "--line", "new")[1].startswith("no such verdicts of line new in")


def test_the_command_prints_json(config: Path) -> None:
    arguments = ["--line", "one", "--json", "--since", iso_ms(at(3)), "--until", iso_ms(at(9)), "--count", "2"]
    code, output = ask(config, *arguments)
    found = json.loads(output)
    assert (code, [one["seq"] for one in found], found[0]["issued_at"]) == (0, [8, 7], "2026-01-31T06:08:00.000Z")
    found = json.loads(ask(config, "--line", "one", "--json", "--part", "part 2")[1])
    assert [one["seq"] for one in found] == [12, 7, 2]
    ago = f"{(utc_now() - at(11)).days + 1}d"
    assert len(json.loads(ask(config, "--line", "one", "--json", "--since", ago)[1])) == 12


def test_the_command_exports(config: Path, tmp_path: Path) -> None:
    target = tmp_path / "all.csv"
    code, output = ask(config, "--line", "one", "--export", str(target), "--until", iso_ms(at(5)))
    assert (code, output) == (0, f"{target}: 4 verdicts of line one")
    assert target.read_text("utf-8-sig").count("\n") == 5


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--line", "oen"], "no line 'oen'; there are new, one, two"),
        (["--line", "one", "--kind", "bad"], "'bad' is not one of"),
        (["--line", "one", "--since", "yesterday"], "yesterday"),
        (["--line", "one", "--export", "all.txt"], "name a file that ends in .csv or .parquet"),
        (["--line", "one", "--export", "all.csv", "--kind", "error"], "it takes all verdicts"),
    ],
)
def test_the_command_refuses_what_cannot_be(config: Path, arguments: list[str], says: str) -> None:
    code, output = ask(config, *arguments)
    assert (code, says in output) == (2, True), output


@pytest.mark.parametrize("text", ["CREATE TABLE lines (line TEXT, seq INTEGER,", "CREATE INDEX "])
def test_a_schema_that_is_no_text_is_said_in_words(box: Outbox, text: str) -> None:
    box.issue(verdict("one", 1)).result()
    box.stop()
    kept = History(box.path.parent)
    with sqlite3.connect(kept.path) as database:
        database.execute("PRAGMA writable_schema = 1")
        broken = text.encode() + b"\xff\xb4"
        database.execute("UPDATE sqlite_master SET sql = CAST(? AS TEXT) WHERE name = 'lines'", (broken,))
    database.close()
    with pytest.raises(DatabaseError, match=r"database .*verdicts\.db: "):
        kept.lines()
