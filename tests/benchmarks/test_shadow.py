"""Two lines with a shadow: what it costs the parts at five a second each, its report's counts on real scores, and what
a killed service keeps of it.

Parts with and without the shadow take turns, so that a machine that grows slower meanwhile makes neither look better.
"""

from __future__ import annotations

import statistics
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from edge.control.offline import offline_dispatcher
from edge.inspection.verdict import answer_of
from edge.settings_file import load_settings
from edge.storage.shadow_verdicts import ShadowVerdicts
from tests.support.mosquitto import Mosquitto, eventually, subscribe
from tests.support.shadowed import LINES, LIVE, SHADOW, Shadowed, percentile

TURNS, PARTS = 4, 75
PASS_MS = 30.0
P99_RATIO = 1.1
SCORED = 60
KILLED_AFTER = 20
NEAR = 0.01  # of a threshold: there the archive's JPEG may change an answer


@pytest.mark.timeout(900)
def test_the_live_parts_are_as_fast_as_without(tmp_path: Path) -> None:
    with Mosquitto() as mosquitto, subscribe(mosquitto.port, "line/#") as heard:
        lines = Shadowed(tmp_path, mosquitto, heard, "untrained", pass_ms=PASS_MS)
        times: dict[bool, list[float]] = {False: [], True: []}
        with lines.service():
            for line in LINES:
                lines.ask("recipe_copy", line, name=SHADOW, settings={"threshold": 0.2})
                lines.ask("recipe_prepare", line, recipe=SHADOW)
            lines.judge(20)
            for turn in range(2 * TURNS):
                shadowed = turn % 2 == 1
                for line in LINES:
                    if shadowed:
                        lines.ask("shadow_start", line, recipe=SHADOW)
                    elif turn:
                        lines.ask("shadow_stop", line)
                lines.judge(5)
                times[shadowed] += [verdict["timing_ms"]["total"] for verdict in lines.judge(PARTS)]
            counts = {line: lines.status(line)["shadow"]["counts"] for line in LINES}
        figures = {
            shadowed: (statistics.median(found), percentile(found, 0.99), max(found))
            for shadowed, found in times.items()
        }
        for shadowed, (p50, p99, most) in figures.items():
            print(f"shadow {shadowed}: {len(times[shadowed])} parts, p50 {p50:.1f}, p99 {p99:.1f}, max {most:.1f} ms")
        ratios = [with_it / without for with_it, without in zip(figures[True], figures[False], strict=True)]
        print(f"ratios p50 {ratios[0]:.3f}, p99 {ratios[1]:.3f}; the shadows: {counts}")
        assert ratios[1] < P99_RATIO


@pytest.mark.timeout(900)
def test_the_counts_of_the_report_are_those_of_the_archive(tmp_path: Path) -> None:
    with Mosquitto() as mosquitto, subscribe(mosquitto.port, "line/#") as heard:
        lines = Shadowed(tmp_path, mosquitto, heard, "bundled", defects=0.3, rate=1.0)
        with lines.service():
            middle = statistics.median(verdict["score"] for verdict in lines.judge(10))
            for line in LINES:
                lines.ask("recipe_copy", line, name=SHADOW, settings={"pack": "generic"})
                for recipe in (LIVE, SHADOW):
                    lines.ask("threshold", line, recipe=recipe, threshold=middle)
                shadow = lines.ask("shadow_start", line, recipe=SHADOW)["shadow"]["id"]
                lines.judge(10)
                tried = ShadowVerdicts(lines.state).of(shadow, line, range(1, 10_000))
                own_middle = statistics.median(part.shadow_score for part in tried)
                lines.ask("threshold", line, recipe=SHADOW, threshold=own_middle)
                lines.ask("shadow_start", line, recipe=SHADOW)
            errors = {found["error"]["message"] for found in lines.judge(SCORED) if found["verdict"] == "error"}
            assert not errors
            for line in LINES:
                lines.ask("pause", line)
                lines.ask("shadow_stop", line)
            lines.settle()
            reports = {line: lines.ask("shadow_report", line) for line in LINES}
        for line, report in reports.items():
            check_recount(lines, line, report)


def check_recount(lines: Shadowed, line: str, report: dict[str, Any]) -> None:
    """Counts the archive's pictures, and judges them once more by the shadow's recipe."""
    shadow = report["shadow"]
    first, last = shadow["first_seq"], shadow["last_seq"]
    assert sum(lines.archived(line, first, last).values()) == report["parts"]
    compared = ShadowVerdicts(lines.state).of(shadow["id"], line, range(first, last + 1))
    recount: Counter[tuple[str, str]] = Counter()
    near = 0
    with offline_dispatcher(load_settings(lines.config)) as dispatcher:
        recipe = dispatcher.recipes.load(dispatcher.recipe(line, SHADOW))
        for part in compared:
            assert part.archive is not None
            picture = dispatcher.archive.picture(part.archive)
            inspection = dispatcher.recipes.inspect(recipe, picture).result(60).inspection
            answer = answer_of(inspection, recipe)
            if abs(part.shadow_score - recipe.threshold) < NEAR:
                near += 1
                answer = part.shadow_answer
            recount["normal" if "/ok/" in part.archive else "anomaly", answer] += 1
    expected = {
        (live, answer): count for live, row in report["table"].items() for answer, count in row.items() if count
    }
    assert recount == expected
    assert len(compared) > SCORED // 2
    print(f"line {line}: {report['parts']} parts, {len(compared)} by both, {near} near the threshold; {expected}")


@pytest.mark.timeout(400)
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
            beside = lines.judge(KILLED_AFTER)
            assert {verdict["recipe"]["name"] for verdict in beside} == {LIVE}
            assert {verdict["verdict"] for verdict in beside} == {"normal"}
            for line in LINES:  # as soon as the machine has time for it
                eventually(partial(has_judged, lines, line), 60)
        with lines.service():  # it was killed
            for line in LINES:
                eventually(partial(has_judged, lines, line), 60)
            lines.ask("shadow_promote", "one", swap=True)
            promoted = [verdict for verdict in lines.judge(KILLED_AFTER) if verdict["line"] == "one"]
            assert (promoted[-1]["recipe"]["name"], promoted[-1]["verdict"]) == (SHADOW, "anomaly")
            swapped = lines.ask("shadow_report", "one")
            lines.ask("shadow_start", "two", recipe=SHADOW)  # anew: the archive may lack what was killed
            lines.judge(KILLED_AFTER)
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
