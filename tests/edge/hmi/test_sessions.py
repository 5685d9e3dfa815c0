"""Sessions: whose they are, when they end, and what of them is on disk."""

from __future__ import annotations

import json
import stat
from datetime import timedelta
from pathlib import Path

import pytest

from edge.clock import utc_now
from edge.hmi import sessions as module
from edge.hmi.sessions import MOST, MOST_OF_USER, Sessions
from edge.hmi.users import User

EVA = User(role="view", password="scrypt$15$8$3$" + "A" * 22 + "==$" + "A" * 43 + "=")
USERS = {"eva": EVA, "otto": EVA}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "sessions.json"


def test_a_session_is_its_users_and_no_key_is_on_disk(path: Path) -> None:
    sessions = Sessions(path, 12.0)
    key = sessions.begin("eva", EVA)
    assert sessions.name(key, USERS) == "eva"
    assert sessions.name(key + "x", USERS) is None
    assert sessions.name("", USERS) is None
    assert key not in path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert Sessions(path, 12.0).name(key, USERS) == "eva"  # after a restart


def test_it_ends_with_its_time_its_user_or_the_password(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sessions = Sessions(path, 12.0)
    key = sessions.begin("eva", EVA)
    assert sessions.name(key, {}) is None
    changed = EVA.model_copy(update={"password": "scrypt$15$8$3$" + "B" * 22 + "==$" + "A" * 43 + "="})
    assert sessions.name(key, {"eva": changed}) is None
    monkeypatch.setattr(module, "utc_now", lambda: utc_now() + timedelta(hours=12, seconds=1))
    assert sessions.name(key, USERS) is None


def test_it_ends_when_its_user_says_so(path: Path) -> None:
    sessions = Sessions(path, 12.0)
    key, other = sessions.begin("eva", EVA), sessions.begin("eva", EVA)
    sessions.end(key)
    sessions.end("no such key")
    assert (sessions.name(key, USERS), sessions.name(other, USERS)) == (None, "eva")
    assert Sessions(path, 12.0).name(key, USERS) is None


def test_nobody_has_more_than_some_and_nobody_elses_end_for_it(path: Path) -> None:
    sessions = Sessions(path, 12.0)
    ottos = sessions.begin("otto", EVA)
    keys = [sessions.begin("eva", EVA) for _ in range(MOST_OF_USER + 2)]
    assert [sessions.name(key, USERS) for key in keys[:2]] == [None, None]
    assert all(sessions.name(key, USERS) for key in keys[2:])
    assert sessions.name(ottos, USERS) == "otto"


def test_there_are_never_more_than_some_in_all(path: Path) -> None:
    until = (utc_now() + timedelta(hours=1)).isoformat()
    kept = [{"id": f"{n:064x}", "name": f"user {n}", "password": "0" * 64, "until": until} for n in range(2 * MOST)]
    path.write_text(json.dumps(kept))
    Sessions(path, 12.0).begin("eva", EVA)
    assert len(json.loads(path.read_text())) <= MOST


NO_ZONE = {"id": "0" * 64, "name": "eva", "password": "0" * 64, "until": "2126-01-31T06:00:00"}


@pytest.mark.parametrize(
    "text", ["", "{}", "[1]", "nonsense", '[{"id": "x"}]', "[" * 10_000, json.dumps([NO_ZONE])], ids=range(7)
)
def test_a_damaged_file_has_nobody_logged_in(path: Path, text: str, caplog: pytest.LogCaptureFixture) -> None:
    path.write_text(text)
    sessions = Sessions(path, 12.0)
    assert "everybody has to log in again" in caplog.text
    assert sessions.name(sessions.begin("eva", EVA), USERS) == "eva"


def test_a_session_that_cannot_be_kept_is_none(tmp_path: Path) -> None:
    sessions = Sessions(tmp_path / "missing" / "sessions.json", 12.0)
    with pytest.raises(OSError, match="missing"):
        sessions.begin("eva", EVA)
