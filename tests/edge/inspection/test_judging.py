"""Whether a line judges at all, by its last answers."""

from __future__ import annotations

import pytest

from edge.inspection.judging import FAILING_PARTS, Judging
from tests.support.verdicts import failure, verdict


def noted(judging: Judging, *codes: str, kept: bool = False) -> None:
    for seq, code in enumerate(codes, 1):
        judging.note(failure("one", seq, code=code), kept=kept)


@pytest.mark.parametrize("code", ["late", "deadline", "queue_full", "scorer_failed", "camera_black", "of tomorrow"])
def test_errors_of_any_reason_in_a_row_are_a_fault(code: str) -> None:
    judging = Judging()
    noted(judging, *[code.replace(" ", "_")] * (FAILING_PARTS - 1))
    assert judging.fault is None
    noted(judging, code.replace(" ", "_"))
    assert judging.fault is not None
    assert judging.fault.message.endswith(f": {code.replace(' ', '_')}: a test")
    assert judging.fault.remedy.endswith("then show the line a part")
    judging.note(verdict("one", 9))
    assert judging.fault is None


@pytest.mark.parametrize("code", ["paused", "stopping", "restart", "free_run"])
def test_what_nobody_meant_to_be_judged_does_not_count(code: str) -> None:
    judging = Judging()
    noted(judging, *[code] * 20)
    assert judging.fault is None


def test_triggers_that_waited_at_the_broker_say_nothing_of_the_line() -> None:
    judging = Judging()
    noted(judging, *["late"] * 20, kept=True)
    assert judging.fault is None


def test_the_reason_stays_as_long_as_it_comes_again() -> None:
    """An alarm whose words change with each part would fill the log."""
    judging = Judging()
    noted(judging, *["late", "deadline"] * FAILING_PARTS)
    first = judging.fault
    noted(judging, "deadline", "late", "deadline")
    assert judging.fault == first
    noted(judging, *["camera_late"] * FAILING_PARTS)
    assert judging.fault is not None
    assert ": camera_late: " in judging.fault.message
