"""Calibrations under way: who calls one off is told the truth of what becomes of it."""

from __future__ import annotations

import pytest

from edge.control.calibration_runs import CalibrationRunError, CalibrationRuns


def test_what_is_called_off_sets_nothing() -> None:
    with CalibrationRuns().begin("one", "eva", 0) as run:
        run.cancel("adam")
        with pytest.raises(CalibrationRunError, match="was called off by adam after 0 parts; nothing was set"):
            run.settle()


def test_what_is_being_set_cannot_be_called_off() -> None:
    """To set it takes a while with many shots: who called it off then was told that nothing was set."""
    with CalibrationRuns().begin("one", "eva", 0) as run:
        run.settle()
        with pytest.raises(CalibrationRunError, match="cannot be called off any more: its threshold is being set"):
            run.cancel("adam")
        run.go_on()
