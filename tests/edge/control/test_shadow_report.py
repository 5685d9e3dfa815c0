"""The report's counts, shares and the question which of the two was right."""

from __future__ import annotations

import pytest

from core.share import share
from edge.clock import utc_now
from edge.control.shadow_report import agreement_part, changed_parts, feedback_part
from edge.storage.feedback import Feedback, Kind
from edge.storage.shadow_verdicts import Answer, ComparedPart


def part(seq: int, live: Answer, shadow: Answer) -> ComparedPart:
    return ComparedPart(seq, None, utc_now(), f"one/{seq}.jpg", 0.4, 0.5, live, 1, 0.6, 0.5, shadow, 2)


def said(seq: int, kind: Kind) -> Feedback:
    return Feedback(utc_now(), "eva", "one", seq, kind, "", 1, None, False)


def test_the_table_and_its_shares() -> None:
    counts: dict[tuple[Answer, Answer], int] = {
        ("normal", "normal"): 90,
        ("normal", "anomaly"): 2,
        ("normal", "review"): 1,
        ("anomaly", "normal"): 3,
        ("anomaly", "anomaly"): 4,
        ("anomaly", "review"): 1,
    }
    found = agreement_part(counts)
    assert found["both"] == 101
    assert found["table"]["normal"] == {"normal": 90, "anomaly": 2, "review": 1}
    assert found["table"]["anomaly"] == {"normal": 3, "anomaly": 4, "review": 1}
    assert found["table"]["review"] == {"normal": 0, "anomaly": 0, "review": 0}
    shares = found["shares"]
    assert [(shares[name]["count"], shares[name]["of"]) for name in shares] == [(94, 101), (3, 93), (3, 8)]
    exact = share(3, 93)
    assert (shares["more_rejected"]["low"], shares["more_rejected"]["high"]) == (exact.low, exact.high)
    assert shares["more_rejected"]["value"] == pytest.approx(3 / 93)


def test_without_parts_there_are_no_shares() -> None:
    found = agreement_part({})
    assert (found["both"], found["shares"]) == (0, dict.fromkeys(("agree", "more_rejected", "fewer_rejected")))
    assert feedback_part([], {}) == {"parts": 0, "live": None, "shadow": None}
    normal = agreement_part({("normal", "normal"): 5})
    assert normal["shares"]["fewer_rejected"] is None, "no part was rejected"


def test_feedback_says_which_of_the_two_was_right() -> None:
    parts = [part(1, "anomaly", "normal"), part(2, "normal", "anomaly"), part(3, "normal", "normal")]
    parts += [part(4, "anomaly", "review"), part(5, "normal", "review")]
    feedback = {1: said(1, "false_alarm"), 2: said(2, "missed"), 3: said(3, "missed"), 4: said(4, "confirmed")}
    found = feedback_part(parts, feedback)
    assert (found["parts"], found["live"]["count"], found["shadow"]["count"]) == (4, 1, 3)
    changed = changed_parts(parts, feedback)
    assert [entry["right"] for entry in changed] == [["shadow"], ["shadow"], [], ["live", "shadow"], []]
    assert [entry["feedback"] for entry in changed] == ["false_alarm", "missed", "missed", "confirmed", None]
    assert changed[4]["archive"] == "one/5.jpg"
