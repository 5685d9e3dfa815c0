from pathlib import Path

import pytest

from core.database.database import DatabaseError
from edge.clock import utc_now
from edge.ops.lock import LockError, hold_state
from edge.storage.settings_database import FILE, LineCalibration, SettingsDatabase

KEPT = LineCalibration(0.5, 0.25, 0.05, 19, "from 19 parts declared good", "f" * 64, "a" * 64, 3, (0.25, 0.5))


def test_calibrations_and_audit_are_kept(tmp_path: Path) -> None:
    for start in range(2):
        state = SettingsDatabase(tmp_path / "state")
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


def test_what_shots_score_is_kept_for_just_these_shots(tmp_path: Path) -> None:
    basis, scores = ("f" * 64, "a" * 64, 3), ((0.25, 0.5), (0.5, 0.75))
    for start in range(2):
        state = SettingsDatabase(tmp_path / "state")
        state.start()
        if start == 0:
            assert state.run(lambda one: one.shot_scores("one", *basis)) is None
            state.run(lambda one: one.keep_shot_scores("one", *basis, [(0.0, 0.0)]))
            state.run(lambda one: one.keep_shot_scores("one", *basis, scores))
        assert state.run(lambda one: one.shot_scores("one", *basis)) == scores
        assert state.run(lambda one: one.shot_scores("two", *basis)) is None
        for other in (("0", *basis[1:]), (basis[0], "0", basis[2]), (*basis[:2], 4)):
            assert state.run(lambda one, other=other: one.shot_scores("one", *other)) is None
        state.stop()


def test_one_process_has_the_folder(tmp_path: Path) -> None:
    first = hold_state(tmp_path / "state")
    with pytest.raises(LockError, match=r"state\.lock: another alfa-edge"):
        hold_state(tmp_path / "state")
    first.close()
    hold_state(tmp_path / "state").close()


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(LockError, match=r"file/state: .*set service\.state_dir"):
        hold_state(tmp_path / "file" / "state")


def test_feedback_is_kept_with_its_evidence(tmp_path: Path) -> None:
    state = SettingsDatabase(tmp_path)
    state.start()
    kept = state.run(lambda one: one.feed_back("one", 7, "missed", who="eva", note="a dent", shot=None, picture=b"png"))
    [row] = state.run(lambda one: list(one.database.tables.query("SELECT * FROM feedback")))
    state.stop()
    assert (row["id"], row["line"], row["seq"], row["kind"]) == (kept, "one", 7, "missed")
    assert (row["who"], row["note"], row["shot"], row["picture"]) == ("eva", "a dent", None, b"png")


def test_a_copy_is_made_beside_what_goes_on(tmp_path: Path) -> None:
    state = SettingsDatabase(tmp_path / "state")
    state.start()
    state.run(lambda one: one.calibrate("one", KEPT, "eva"))
    (tmp_path / "backup").mkdir()
    copy = state.backup(tmp_path / "backup", utc_now())
    state.stop()
    restored = SettingsDatabase(copy.parent)
    restored.start()
    assert restored.run(lambda one: one.calibration("one")) == KEPT
    restored.stop()


def test_a_file_that_is_no_database_is_refused_and_kept(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text("something else")
    state = SettingsDatabase(tmp_path)
    with pytest.raises(DatabaseError, match=r"state\.db"):
        state.start()
    state.stop()
    assert (tmp_path / FILE).read_text() == "something else"
