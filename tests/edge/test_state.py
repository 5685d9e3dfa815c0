from pathlib import Path

import pytest

from core.database import DatabaseError
from edge.lock import LockError
from edge.state import FILE, LineCalibration, StateThread

KEPT = LineCalibration(0.5, 0.25, 0.05, 19, "from 19 parts declared good", "f" * 64, "a" * 64, 3)


def test_calibrations_and_audit_are_kept(tmp_path: Path) -> None:
    for start in range(2):
        state = StateThread(tmp_path / "state")
        state.start()
        if start == 0:
            assert state.run(lambda one: one.calibration("one")) is None
            state.run(lambda one: one.calibrate("one", KEPT, "eva"))
            state.run(lambda one: one.note("eva", "calibrate", {"line": "one"}, "done"))
        assert state.run(lambda one: one.calibration("one")) == KEPT
        assert state.run(lambda one: one.calibration("two")) is None
        [entry] = state.run(lambda one: one.audit(5))
        assert (entry["who"], entry["command"], entry["outcome"]) == ("eva", "calibrate", "done")
        state.stop()
        state.stop()


def test_one_process_has_it(tmp_path: Path) -> None:
    first, second = StateThread(tmp_path), StateThread(tmp_path)
    first.start()
    with pytest.raises(LockError, match=r"state\.lock: another alfa-edge"):
        second.start()
    second.stop()
    first.stop()
    third = StateThread(tmp_path)
    third.start()
    third.stop()


def test_a_file_that_is_no_database_is_refused_and_kept(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text("something else")
    state = StateThread(tmp_path)
    with pytest.raises(DatabaseError, match=r"state\.db"):
        state.start()
    state.stop()
    assert (tmp_path / FILE).read_text() == "something else"
