"""A scripted week: what is known of its errors is what a statistician finds in the script."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path
from typing import NamedTuple
from zoneinfo import ZoneInfo

import pytest
from scipy.stats import binomtest
from typer.testing import CliRunner

from edge.cli.app import app
from edge.messages import Recipe
from edge.settings import HistorySettings
from edge.storage.feedback import FeedbackLog
from edge.storage.history import History
from edge.storage.outbox import Outbox
from edge.storage.settings_database import SettingsDatabase, SettingsTables
from edge.storage.verdict_tables import row_of
from edge.tools.quality import groups
from edge.zone import Shifts
from tests.support.at_rest import written_settings
from tests.support.verdicts import failure, verdict

BERLIN = ZoneInfo("Europe/Berlin")
MONDAY = datetime(2026, 3, 23, tzinfo=BERLIN)  # on the Sunday of this week the clocks are set: it has 167 hours
SHIFTS = ("06:00", "14:00", "22:00")
PARTS, LABELS = 2000, 40


class Part(NamedTuple):
    """One of the script: the shift and the recipe are as its writer meant them, not computed from its time."""

    seq: int
    issued: datetime
    shift: str
    recipe: str
    verdict: str
    said: str | None


def script() -> Iterator[Part]:
    """2,000 judged parts in 20 shifts of 100, every 20th an alarm; of each shift two labels. And an error a shift."""
    seq = 0
    for number in range(PARTS // 100):
        shift = SHIFTS[number % 3]
        begin = MONDAY + timedelta(days=number // 3, hours=int(shift[:2]))  # wall clock, as shifts go
        recipe = "bottle" if number % 4 else "tile"
        for place in range(100):
            seq += 1
            alarm, issued = place % 20 == 7, begin + timedelta(minutes=4 * place)
            said = None
            if place == 7:
                said = "false_alarm" if number % 5 else "confirmed"
            elif place == 50:
                said = "missed" if number in (2, 11, 12) else None
            elif place == 47 and number not in (2, 11, 12):
                said = "false_alarm"
            yield Part(seq, issued, shift, recipe, "anomaly" if alarm else "normal", said)
        seq += 1
        yield Part(seq, begin + timedelta(hours=7), shift, recipe, "error", None)


@pytest.fixture(scope="module")
def week(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The state that the script leaves. The disk is not waited for with each part: that is shown elsewhere."""
    root = tmp_path_factory.mktemp("week")
    folder = root / "state"
    box = Outbox(folder, HistorySettings())
    box.start()
    box.stop()
    state = SettingsDatabase(folder)
    state.start()
    with closing(sqlite3.connect(folder / "verdicts.db")) as database, database:
        for part in script():
            wire = Recipe(pack=part.recipe, pack_version="1", pack_sha256="a" * 64, threshold_source="by hand")
            made = verdict("one", part.seq, verdict=part.verdict, recipe=wire, issued_at=part.issued)
            if part.verdict == "error":
                made = failure("one", part.seq).model_copy(update={"issued_at": part.issued, "recipe": wire})
            row = row_of(made) | {"filed": float(part.seq)}
            marks = ", ".join(f":{name}" for name in row)
            database.execute(f"INSERT INTO verdicts ({', '.join(row)}) VALUES ({marks})", row)
        database.execute("INSERT OR REPLACE INTO lines (line, seq) VALUES ('one', ?)", (part.seq,))

    def say(tables: SettingsTables) -> None:
        for part in script():
            if part.said is not None:
                tables.feed_back("one", part.seq, part.said, who="eva", note="", shot=None, picture=None)

    state.run(say)
    state.stop()
    return root


def exact(count: int, of: int) -> tuple[float, float]:
    interval = binomtest(count, of).proportion_ci(0.95, method="exact")
    return interval.low, interval.high


def test_the_script_is_as_it_is_meant() -> None:
    parts = [part for part in script() if part.verdict != "error"]
    assert len(parts) == PARTS
    assert sum(part.said is not None for part in parts) == LABELS
    assert {part.verdict for part in parts if part.said == "missed"} == {"normal"}


def test_counts_by_recipe_and_shift_are_those_of_the_script(week: Path) -> None:
    state = week / "state"
    found = groups(History(state), FeedbackLog(state), "one", Shifts(SHIFTS), BERLIN)
    assert [(group.recipe, group.shift) for group in found] == [
        (recipe, shift) for recipe in ("bottle", "tile") for shift in SHIFTS
    ]
    for group in found:
        mine = [part for part in script() if (part.recipe, part.shift) == (group.recipe, group.shift)]
        kinds, said = Counter(part.verdict for part in mine), Counter(part.said for part in mine)
        judged = group.judged
        assert (judged.normal, judged.anomaly) == (kinds["normal"], kinds["anomaly"])
        assert (judged.false_alarms, judged.confirmed) == (said["false_alarm"], said["confirmed"])
        assert (judged.escapes, judged.confirmed_normal) == (said["missed"], 0)


def test_a_stretch_and_no_shifts(week: Path) -> None:
    state = week / "state"
    [group] = groups(
        History(state),
        FeedbackLog(state),
        "one",
        Shifts(()),
        BERLIN,
        since=MONDAY + timedelta(hours=6),
        until=MONDAY + timedelta(hours=14),
    )
    assert (group.recipe, group.shift, group.judged.parts, group.judged.false_alarms) == ("tile", "all", 100, 1)


def test_the_command_says_rates_with_their_intervals(week: Path) -> None:
    path = written_settings(week)
    path.write_text(path.read_text().replace("[service]", "[service]\nzone = 'Europe/Berlin'"))

    def typed(*words: str, columns: int = 200) -> str:
        arguments = ["feedback", "rates", "-c", str(path), "--line", "one", *words]
        result = CliRunner().invoke(app, arguments, env={"COLUMNS": str(columns)})
        assert result.exit_code == 0, result.output
        return result.output

    found = json.loads(typed("--shift", ",".join(SHIFTS), "--json"))
    for group in found:
        mine = [part for part in script() if (part.recipe, part.shift) == (group["recipe"], group["shift"])]
        kinds, said = Counter(part.verdict for part in mine), Counter(part.said for part in mine)
        parts, seen = kinds["normal"] + kinds["anomaly"], said["false_alarm"] + said["confirmed"]
        expected = {
            "known_false_alarms": (said["false_alarm"], parts),
            "possible_false_alarms": (kinds["anomaly"] - said["confirmed"], parts),
            "known_escapes": (said["missed"], parts),
            "reviewed_alarms": (said["false_alarm"], seen),
        }
        for name, (count, of) in expected.items():
            share = group["rates"][name]
            assert (share["count"], share["of"]) == (count, of), name
            assert (share["low"], share["high"]) == pytest.approx(exact(count, of), rel=1e-7), name
    everything = json.loads(typed("--json"))
    assert [group["shift"] for group in everything] == ["all", "all"]
    shown = typed()
    for part in ("bottle", "tile", "1500", "at least", "Clopper and Pearson", "only if chance decided"):
        assert part in shown
    narrow = typed(columns=80)
    assert max(map(len, narrow.split("known: of all")[0].splitlines())) <= 80
