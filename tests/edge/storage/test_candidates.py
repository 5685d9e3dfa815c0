"""Pictures that wait to be taken: one of each, so many, and for so long."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from core.bank.shot_checks import Flag
from core.database.database import open_database
from edge.storage import candidates
from edge.storage.candidates import LIFE, Candidate, CandidateError, Candidates
from edge.storage.state_tables import ALL_TABLES, FILE

NOW = datetime(2026, 1, 31, 6, tzinfo=timezone.utc)
FLAGGED = (Flag("blurred", "sharpness 0.1 is below 0.5"),)


@contextmanager
def table(folder: Path) -> Iterator[Candidates]:
    with open_database(folder / FILE, ALL_TABLES) as database:
        yield Candidates(database)


def hold(held: Candidates, png: bytes, line: str = "one", **changes: Any) -> Candidate:
    known: dict[str, Any] = {"size": (48, 64), "at": NOW, "who": "eva", "source": "a.png", "note": "Monday"}
    return held.hold(line, png, **known | {"score": 0.25, "flags": FLAGGED} | changes)


def test_a_candidate_is_kept_as_it_was_shown(tmp_path: Path) -> None:
    with table(tmp_path) as held:
        found = hold(held, b"one")
    with table(tmp_path) as held:
        assert held.get(found.id) == found
        assert held.png(found.id) == b"one"
        assert (found.held_at, found.width, found.height, found.score, found.flags) == (NOW, 64, 48, 0.25, FLAGGED)
        held.flag(found.id, ())
        assert held.get(found.id).flags == ()
        held.drop([found.id])
        for lost in (held.get, held.png):
            with pytest.raises(
                CandidateError, match=f"there is no candidate {found.id}: it was taken, dropped, or held"
            ):
                lost(found.id)
        assert hold(held, b"one").id > found.id  # no number is given twice


def test_the_same_picture_is_held_once(tmp_path: Path) -> None:
    with table(tmp_path) as held:
        hold(held, b"one")
        again = hold(held, b"one", note="Tuesday")
        other = hold(held, b"one", line="two")
        assert held.numbers("one", NOW) == [again.id]
        assert held.numbers("two", NOW) == [other.id]
        assert held.get(again.id).note == "Tuesday"


def test_there_are_so_many_at_a_time_and_old_ones_make_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(candidates, "MOST", 2)
    with table(tmp_path) as held:
        hold(held, b"one")
        second = hold(held, b"two", at=NOW + timedelta(days=1))
        assert held.room("one", NOW + timedelta(days=1)) == 0
        with pytest.raises(
            CandidateError, match=r"2 candidates are held already: take or drop some \(`alfa-edge shots"
        ):
            hold(held, b"three")
        assert hold(held, b"two").id > second.id  # held anew, so that no room is needed
        late = NOW + LIFE + timedelta(hours=1)
        assert held.numbers("one", late) == []
        assert held.room("one", late) == 2, "what nobody can take or drop any more takes no room"
        fresh = hold(held, b"three", at=late)
        assert held.numbers("one", late) == [fresh.id]
        assert held.room("one", late) == 1


def test_a_damaged_candidate_is_named_and_can_be_dropped(tmp_path: Path) -> None:
    with open_database(tmp_path / FILE, ALL_TABLES) as database:
        held = Candidates(database)
        found = hold(held, b"one")
        with database.transaction():
            database.tables.execute("UPDATE candidates SET flags = '[1'")
        with pytest.raises(CandidateError, match=f"candidate {found.id}: what is kept of it is damaged"):
            held.get(found.id)
        assert held.numbers("one", NOW) == [found.id]
        held.drop([found.id])
        assert held.numbers("one", NOW) == []
