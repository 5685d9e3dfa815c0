"""What a shadow says stands beside the verdict as long as the history has it, and never in the verdict's way."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from core.database.database import DatabaseError
from edge.messages import Recipe
from edge.ops.alarms import Alarms
from edge.settings import HistorySettings
from edge.storage import shadow_verdicts
from edge.storage.outbox import Outbox
from edge.storage.shadow_verdicts import Answer, ShadowVerdict, ShadowVerdicts
from edge.storage.verdict_database import VerdictDatabase
from tests.support.mosquitto import eventually
from tests.support.verdicts import RECIPE, verdict


@contextmanager
def opened(folder: Path, **settings: float) -> Iterator[Outbox]:
    limits = HistorySettings.model_construct(**HistorySettings().model_dump() | settings)  # small ones, too
    box = Outbox(folder, limits, alarms=Alarms())
    box.start()
    yield box
    box.stop()


def recipe(number: int, revision: int = 1) -> Recipe:
    return RECIPE.model_copy(update={"name": f"R{number}", "number": number, "revision": revision})


def issue(box: Outbox, seq: int, answer: str = "normal", number: int = 1) -> None:
    kind, review = ("anomaly", True) if answer == "review" else (answer, False)
    box.issue(verdict("one", seq, verdict=kind, review=review, recipe=recipe(number))).result(10)


def said(seq: int, answer: Answer, shadow: int = 1) -> ShadowVerdict:
    return ShadowVerdict(shadow, "one", seq, 3, 0.75, 0.6, answer)


def test_answers_are_compared_with_those_of_the_line(tmp_path: Path) -> None:
    verdicts = ShadowVerdicts(tmp_path)
    assert verdicts.agreement(1, "one") == {}
    answers: list[tuple[str, Answer]] = [
        ("normal", "normal"),
        ("normal", "anomaly"),
        ("anomaly", "anomaly"),
        ("anomaly", "normal"),
        ("normal", "review"),
        ("normal", "normal"),
    ]
    with opened(tmp_path) as box:
        for seq, (live, answer) in enumerate(answers, 1):
            issue(box, seq, live)
            assert box.shadows.keep(said(seq, answer))
        issue(box, 7)  # which the shadow has passed over
        issue(box, 8, number=2)  # which the line has judged by another recipe
        assert box.shadows.keep(said(6, "anomaly", shadow=2)), "of another shadow"
    assert verdicts.agreement(1, "one") == {
        ("normal", "normal"): 1,
        ("normal", "anomaly"): 1,
        ("anomaly", "anomaly"): 1,
        ("anomaly", "normal"): 1,
        ("normal", "review"): 1,
    }
    assert verdicts.agreement(1, "two") == {}
    assert [part.seq for part in verdicts.changed(1, "one", 2)] == [5, 4]
    [part] = verdicts.of(1, "one", {2, 7, 9})
    assert (part.seq, part.live_answer, part.live_score, part.live_threshold) == (2, "normal", 0.25, 0.5)
    assert (part.live_revision, part.shadow_revision) == (1, 3)
    assert (part.shadow_answer, part.shadow_score, part.shadow_threshold) == ("anomaly", 0.75, 0.6)
    assert verdicts.judged("one", 1, 1, None) == 7
    assert verdicts.judged("one", 1, 2, 5) == 4
    assert verdicts.judged("one", 2, 1, None) == 1


def test_a_part_for_review_is_told_from_an_anomaly(tmp_path: Path) -> None:
    with opened(tmp_path) as box:
        issue(box, 1, "review")
        box.shadows.keep(said(1, "anomaly"))
    assert ShadowVerdicts(tmp_path).agreement(1, "one") == {("review", "anomaly"): 1}


def test_what_is_said_of_a_part_goes_with_its_verdict(tmp_path: Path) -> None:
    with opened(tmp_path, limit=5) as box:
        for seq in range(1, 41):
            issue(box, seq)
            box.delivered("one", box.waiting("one", 1)[0].id)
            box.shadows.keep(said(seq, "normal"))
        eventually(lambda: sum(ShadowVerdicts(tmp_path).agreement(1, "one").values()) <= 40 - 5, 30)
        box.shadows.keep(said(1, "normal"))  # its verdict is gone
    verdicts = ShadowVerdicts(tmp_path)
    kept = verdicts.of(1, "one", range(1, 41))
    assert len(kept) == verdicts.judged("one", 1, 1, None)
    assert kept[-1].seq == 40


def test_a_full_disk_costs_what_the_shadow_says_and_no_verdict(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shadow_verdicts, "_WAITING", 4)
    with opened(tmp_path) as box:
        full = True
        insert = VerdictDatabase.attempt

        def attempt(database: VerdictDatabase, work: object) -> object:
            if full and "ShadowVerdictWriter" in getattr(work, "__qualname__", ""):
                raise DatabaseError("the disk is full")
            return insert(database, work)  # type: ignore[arg-type]

        monkeypatch.setattr(VerdictDatabase, "attempt", attempt)
        taken = []
        for seq in range(1, 9):
            issue(box, seq)
            taken.append(box.shadows.keep(said(seq, "normal")))
        assert taken == [True] * 4 + [False] * 4, "what waits for the disk is bounded"
        assert ShadowVerdicts(tmp_path).judged("one", 1, 1, None) == 8
        full = False
        eventually(lambda: sum(ShadowVerdicts(tmp_path).agreement(1, "one").values()) == 4, 10)
        assert box.shadows.keep(replace(said(8, "anomaly")))


def test_what_is_not_on_disk_when_the_service_is_killed_is_passed_over(tmp_path: Path) -> None:
    with opened(tmp_path) as box:
        for seq in (1, 2):
            issue(box, seq)
        box.shadows.keep(said(1, "normal"))
    verdicts = ShadowVerdicts(tmp_path)
    assert verdicts.judged("one", 1, 1, None) - sum(verdicts.agreement(1, "one").values()) == 1
