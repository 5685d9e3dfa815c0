"""What people said is read beside the writer or without it: of each verdict the last, with its picture."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from core.bank.memory import Memory
from core.database.database import DatabaseError
from core.encoding import Encoding
from core.image import decode, encode_png
from core.simline import render
from edge.clock import utc_now
from edge.storage.feedback import FeedbackLog, NoFeedbackError
from edge.storage.settings_database import SettingsDatabase

PICTURE = render("tile", 1, 1, 0.0).image


@pytest.fixture
def state(tmp_path: Path) -> Iterator[SettingsDatabase]:
    made = SettingsDatabase(tmp_path)
    made.start()
    yield made
    made.stop()


def say(
    state: SettingsDatabase, seq: int, kind: str, note: str = "", shot: int | None = None, picture: bytes | None = None
) -> None:
    state.run(lambda tables: tables.feed_back("one", seq, kind, who="eva", note=note, shot=shot, picture=picture))


def test_of_each_verdict_the_last_counts_and_its_picture_stays(state: SettingsDatabase, tmp_path: Path) -> None:
    log = FeedbackLog(tmp_path)
    assert log.of("one") == {}
    say(state, 9, "missed", "a dent", picture=b"png")
    say(state, 7, "false_alarm", picture=b"other")
    say(state, 9, "confirmed_normal", "no dent after all")
    found = log.of("one")
    assert [*found] == [7, 9]
    assert (found[9].kind, found[9].defective, found[9].note) == ("confirmed_normal", False, "no dent after all")
    assert (found[9].pictured, found[9].shot, found[9].who) == (True, None, "eva")
    assert (log.picture("one", 9), log.picture("one", 7), log.picture("one", 8)) == (b"png", b"other", None)
    assert log.entry("one", 7) == found[7]
    assert found[7].to_dict() == {
        "at": found[7].to_dict()["at"],
        "who": "eva",
        "line": "one",
        "seq": 7,
        "kind": "false_alarm",
        "note": "",
        "recipe": None,
        "shot": None,
        "pictured": True,
        "defective": False,
    }
    assert log.of("two") == {}
    with pytest.raises(NoFeedbackError, match="nobody has said anything of verdict 8 of line one"):
        log.entry("one", 8)


def test_a_picture_is_kept_once_however_often_something_is_said(state: SettingsDatabase, tmp_path: Path) -> None:
    for kind in ("missed", "confirmed_normal", "missed"):
        say(state, 9, kind, picture=b"png")
    query = "SELECT count(picture) AS pictures, count(*) AS said FROM feedback"
    assert state.run(lambda tables: list(tables.database.tables.query(query))) == [{"pictures": 1, "said": 3}]
    log = FeedbackLog(tmp_path)
    assert (log.of("one")[9].pictured, log.picture("one", 9)) == (True, b"png")


def test_a_picture_that_became_a_shot_is_that_shots(state: SettingsDatabase, tmp_path: Path) -> None:
    features = {0: Memory((torch.randn(1, 4, 8),), torch.randn(1, 4, 8), ())}
    encoding = Encoding("f" * 64, 1, (("window:2", (4, 8)), ("patch", (4, 8))))
    shot = state.run(
        lambda tables: tables.bank.add(
            "one", "tile", PICTURE, features, encoding, at=utc_now(), who="eva", source="verdict 3"
        )
    )
    say(state, 3, "false_alarm", picture=b"flagged at first")
    say(state, 3, "false_alarm", shot=shot.id)
    log = FeedbackLog(tmp_path)
    assert (log.of("one")[3].shot, log.of("one")[3].pictured) == (shot.id, True)
    png = log.picture("one", 3)
    assert png is not None
    assert np.array_equal(decode(png), PICTURE)
    say(state, 4, "missed")
    assert (log.of("one")[4].pictured, log.picture("one", 4)) == (False, None)


def test_what_a_newer_version_says_is_not_guessed(state: SettingsDatabase, tmp_path: Path) -> None:
    say(state, 3, "shrug")
    with pytest.raises(DatabaseError, match="verdict 3 of line one is of kind 'shrug', of a newer version"):
        FeedbackLog(tmp_path).of("one")


def test_where_there_is_no_state_there_is_no_feedback(tmp_path: Path) -> None:
    assert FeedbackLog(tmp_path / "none").of("one") == {}
    (tmp_path / "state.db").write_bytes(encode_png(PICTURE))
    with pytest.raises(DatabaseError, match=r"state\.db"):
        FeedbackLog(tmp_path).of("one")
