"""A shadow on two lines that run: what a killed service keeps of it, and its report. A benchmark has what it costs."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from tests.support.mosquitto import Mosquitto, eventually, subscribe
from tests.support.shadowed import LINES, LIVE, SHADOW, Shadowed

PARTS = 20

pytestmark = pytest.mark.timeout(400)


def test_a_shadow_outlives_a_kill_and_counts_what_the_archive_has(tmp_path: Path) -> None:
    with Mosquitto() as mosquitto, subscribe(mosquitto.port, "line/#") as heard:
        lines = Shadowed(tmp_path, mosquitto, heard, "untrained", pass_ms=15.0)
        with lines.service():
            for line in LINES:
                lines.ask("recipe_copy", line, name=SHADOW, settings={"threshold": 0.2})
                lines.ask("recipe_prepare", line, recipe=SHADOW)
            lines.judge(3)
            for line in LINES:
                lines.ask("shadow_start", line, recipe=SHADOW)
            beside = lines.judge(PARTS)
            assert {verdict["recipe"]["name"] for verdict in beside} == {LIVE}
            assert {verdict["verdict"] for verdict in beside} == {"normal"}
            for line in LINES:  # as soon as the machine has time for it
                eventually(partial(has_judged, lines, line), 60)
        with lines.service():  # it was killed
            for line in LINES:
                eventually(partial(has_judged, lines, line), 60)
            lines.ask("shadow_promote", "one", swap=True)
            promoted = [verdict for verdict in lines.judge(PARTS) if verdict["line"] == "one"]
            assert (promoted[-1]["recipe"]["name"], promoted[-1]["verdict"]) == (SHADOW, "anomaly")
            swapped = lines.ask("shadow_report", "one")
            lines.ask("shadow_start", "two", recipe=SHADOW)  # anew: the archive may lack what was killed
            lines.judge(PARTS)
            for line in LINES:
                lines.ask("pause", line)
            lines.ask("shadow_stop", "two")
            lines.settle()
            report = lines.ask("shadow_report", "two", count=2, folder=str(tmp_path / "drawn"))
        assert (swapped["shadow"]["recipe"]["name"], swapped["shadow"]["beside"]["name"]) == (LIVE, SHADOW)
        assert swapped["table"]["anomaly"]["normal"] == swapped["both"] > 0
        shadow, parts, both = report["shadow"], report["parts"], report["both"]
        assert (shadow["state"], shadow["recipe"]["name"], shadow["beside"]["name"]) == ("ended", SHADOW, LIVE)
        assert report["table"]["normal"] == {"normal": 0, "anomaly": both, "review": 0}
        assert 0 < both == parts - report["passed_over"]
        assert lines.archived("two", shadow["first_seq"], shadow["last_seq"]) == {"normal": parts}
        assert [(row["live_threshold"], row["shadow_threshold"]) for row in report["changed"]] == [(0.5, 0.2)] * 2
        assert [Path(file).stat().st_size > 1000 for file in report["overlays"]] == [True] * 2


def has_judged(lines: Shadowed, line: str) -> bool:
    return bool(lines.status(line)["shadow"]["counts"]["judged"] > 3)
