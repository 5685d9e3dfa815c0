"""The two databases of a state are a pair: one that is lost, foreign or older than it was is found out at the start."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from core.bank.tables import BANK_TABLES
from core.database.database import DatabaseError, open_database
from edge.clock import utc_now
from edge.ops.lock import LockError, hold_state
from edge.storage.installation import Installation, check_installation
from edge.storage.journal import FILE as JOURNAL
from edge.storage.line_number import LineNumber
from edge.storage.state_tables import STATE_TABLES
from tests.support.at_rest import at_rest
from tests.support.mosquitto import eventually
from tests.support.state import STATE, VERDICTS, OpenState, change, killed_copy, open_state, rows, until
from tests.support.verdicts import verdict

ID = "SELECT value FROM facts WHERE name = 'installation'"


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state that was stopped after five verdicts of line `one` and two of line `two`."""
    folder = tmp_path_factory.mktemp("stopped")
    with open_state(folder) as state:
        state.issue(5)
        state.issue(2, "two")
    return folder


@pytest.fixture
def folder(stopped: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(stopped, tmp_path / "state"))


def test_both_carry_one_id_and_the_last_numbers(folder: Path, tmp_path: Path) -> None:
    [(identity,)] = rows(folder / STATE, ID)
    assert rows(folder / VERDICTS, ID) == [(identity,)]
    numbers = {"one": LineNumber(1, 5), "two": LineNumber(1, 2)}
    assert check_installation(folder) == Installation(identity, numbers)
    with open_state(folder) as state:
        assert state.issue(1) == [(1, 6)]
    assert check_installation(folder) == Installation(identity, numbers | {"one": LineNumber(1, 6)})
    with open_state(tmp_path / "other"):
        pass
    assert rows(tmp_path / "other" / STATE, ID) != [(identity,)]


def test_numbers_are_noted_soon_and_not_for_each_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge.storage.line_number._TELL_S", 0.3)
    with open_state(tmp_path) as state:
        before = state.settings.run(lambda tables: tables.database.tables.conn.total_changes)
        for _ in range(20):
            state.issue(5)
            state.outbox.look()
        eventually(lambda: rows(tmp_path / STATE, "SELECT seq FROM last_numbers") == [(100,)] or state.outbox.look(), 5)
        after = state.settings.run(lambda tables: tables.database.tables.conn.total_changes)
        assert after - before <= 20


@pytest.mark.parametrize(("lost", "left"), [(VERDICTS, STATE), (STATE, VERDICTS)])
def test_one_without_the_other_is_refused_with_what_helps(folder: Path, lost: str, left: str) -> None:
    (folder / lost).unlink()
    for _ in range(2):
        with pytest.raises(DatabaseError) as caught:
            OpenState(folder)
        said = str(caught.value)
        assert f"database {folder / lost} is lost: {left} of the same installation is there" in said
        assert "`alfa-edge restore FOLDER`" in said
        assert f"`alfa-edge restore --without {lost}`" in said
        assert not (folder / lost).exists()


def test_a_start_that_was_killed_between_the_two_is_no_loss(tmp_path: Path) -> None:
    for made in (VERDICTS, STATE):
        folder = tmp_path / made
        with open_state(folder):
            pass
        for file in (VERDICTS, STATE):
            change(folder / file, "DELETE FROM facts WHERE name = 'installation'")
        (folder / (VERDICTS if made == STATE else STATE)).unlink()
        with open_state(folder) as state:
            assert state.issue(1) == [(1, 1)]
    halfway = tmp_path / STATE
    identity = rows(halfway / STATE, ID)
    change(halfway / VERDICTS, "DELETE FROM facts WHERE name = 'installation'")
    with open_state(halfway) as state:
        assert state.issue(1) == [(1, 2)]
    assert rows(halfway / VERDICTS, ID) == identity


def test_verdicts_of_an_earlier_version_are_not_given_without_their_settings(folder: Path) -> None:
    change(folder / VERDICTS, "DELETE FROM facts WHERE name = 'installation'")
    (folder / STATE).unlink()
    with pytest.raises(DatabaseError, match=r"state\.db is lost"):
        OpenState(folder)


def test_a_state_of_the_version_before_gets_an_id(folder: Path) -> None:
    change(folder / VERDICTS, "DELETE FROM facts WHERE name = 'installation'")
    (folder / STATE).unlink()
    open_database(folder / STATE, [BANK_TABLES, until(STATE_TABLES, 5)]).close()
    with open_state(folder) as state:
        assert state.issue(1) == [(1, 6)]
    assert rows(folder / VERDICTS, ID) == rows(folder / STATE, ID) != []


@pytest.mark.parametrize("foreign", [VERDICTS, STATE])
def test_one_of_another_installation_is_not_mixed_in(folder: Path, tmp_path: Path, foreign: str) -> None:
    with open_state(tmp_path / "other") as other:
        other.issue(1)
    shutil.copy(tmp_path / "other" / foreign, folder)
    with pytest.raises(DatabaseError, match=r"of different installations, and are not mixed.*`alfa-edge restore"):
        OpenState(folder)


def test_an_older_verdict_database_gives_no_number_twice_and_says_so(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "older")
    with open_state(folder) as state:
        state.outbox.accept("one", "open", state.outbox.waiting("one", 1)[0].issued_at).future.result()
        given = state.issue(3)
    shutil.copy(tmp_path / "older" / VERDICTS, folder)
    with open_state(folder) as state:
        assert [alarm.code for alarm in state.alarms.of("one")] == ["history"]
        assert "verdicts up to of line one 5 of 8" in state.alarms.of("one")[0].message
        again = state.issue(3)
        assert again == [(2, 9), (2, 10), (2, 11)]
        assert not set(again) & set(given)
        assert (state.outbox.generation("two"), state.outbox.last_seq("two")) == (2, 2)
        assert state.outbox.unanswered("one") == []
    with open_state(folder) as state:
        assert state.issue(1) == [(2, 12)]
        assert state.alarms.of("one") == []


def test_a_killed_service_goes_on_with_the_same_numbers(tmp_path: Path) -> None:
    with open_state(tmp_path / "state") as state:
        state.issue(3)
        killed_copy(tmp_path / "state", tmp_path / "killed")
    with open_state(tmp_path / "killed") as state:
        assert state.issue(1) == [(1, 4)]
        assert state.alarms.of("one") == []


@pytest.mark.parametrize(
    ("file", "script"),
    [
        (VERDICTS, "UPDATE facts SET value = 'abc' WHERE name = 'generation'"),
        (VERDICTS, "DELETE FROM facts WHERE name = 'generation'"),
        (VERDICTS, "UPDATE lines SET seq = 9223372036854775807"),
        (VERDICTS, "UPDATE lines SET seq = -1"),
        (VERDICTS, "UPDATE lines SET generation = 0"),
        (VERDICTS, "UPDATE verdicts SET issued_at = 'yesterday'"),
        (VERDICTS, "DELETE FROM verdicts WHERE seq = 2"),
        (STATE, "INSERT INTO shot_texts VALUES (99, 'f', 'a', 0.5, 0.5)"),
        (VERDICTS, "UPDATE verdicts SET issued_at = CAST(x'ff' AS TEXT)"),
        (STATE, "UPDATE last_numbers SET seq = 9223372036854775807"),
        (STATE, "UPDATE last_numbers SET line = CAST(x'ff' AS TEXT) WHERE line = 'one'"),
    ],
)
def test_what_the_program_does_not_write_is_refused_in_words(folder: Path, file: str, script: str) -> None:
    change(folder / file, script)
    with pytest.raises(DatabaseError, match=f"database {folder / file}.*`alfa-edge restore FOLDER`"):
        OpenState(folder)


def test_a_file_that_is_lost_while_it_is_open_takes_nothing_and_is_an_alarm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge.storage.writer._WATCH_S", 0.05)
    with open_state(tmp_path) as state:
        state.issue(2)
        for file, write in (
            (VERDICTS, lambda: state.issue(1)),
            (STATE, lambda: state.settings.run(lambda tables: tables.note("eva", "pause", {}, "done"))),
        ):
            (tmp_path / file).rename(tmp_path / "moved")
            eventually(lambda: [alarm.code for alarm in state.alarms.of(None)] == ["state_lost"])
            [alarm] = state.alarms.of("one")
            assert alarm.severity == "fault"
            assert f"{file} was deleted or moved away while it was open: put it back" in alarm.message
            with pytest.raises(DatabaseError, match=f"{file} was deleted or moved away"):
                write()
            (tmp_path / "moved").rename(tmp_path / file)
            eventually(lambda: state.alarms.of(None) == [])
        assert state.issue(1) == [(1, 3)]
        for file in (VERDICTS, STATE):
            (tmp_path / file).unlink()
        eventually(lambda: len(state.alarms.of(None)) == 2)
    assert check_installation(tmp_path).numbers == {"one": LineNumber(1, 3)}
    with open_state(tmp_path) as state:
        assert state.issue(1) == [(1, 4)]


def test_a_trigger_of_no_time_is_said_in_words(folder: Path) -> None:
    with open_state(folder) as state:
        state.outbox.accept("one", "open", utc_now()).future.result()
    change(folder / VERDICTS, "UPDATE triggers SET received_at = 'yesterday'")
    with open_state(folder) as state, pytest.raises(DatabaseError, match=r"verdicts\.db: ValueError: .*yesterday"):
        state.outbox.unanswered("one")


@pytest.mark.timeout(20)
def test_commands_without_a_service_refuse_a_state_that_has_lost_a_half(tmp_path: Path) -> None:
    with open_state(tmp_path / "state"):
        pass
    (tmp_path / "state" / VERDICTS).unlink()
    with pytest.raises(DatabaseError, match=r"verdicts\.db is lost"), at_rest(tmp_path):
        pass
    assert not (tmp_path / "state" / VERDICTS).exists()


@pytest.mark.timeout(20)
@pytest.mark.parametrize("put", [os.mkfifo, Path.mkdir])
def test_what_is_no_file_in_the_place_of_lock_or_journal_is_not_waited_for(
    tmp_path: Path, put: Callable[[Path], None]
) -> None:
    put(tmp_path / JOURNAL)
    with pytest.raises(DatabaseError, match=f"{JOURNAL}: .*not a regular file"):
        OpenState(tmp_path)
    put(tmp_path / "state.lock")
    with pytest.raises(LockError, match=r"state\.lock: "):
        hold_state(tmp_path)


@pytest.mark.parametrize(
    "record",
    [
        b"[" * 100_000,
        b'{"line": ["one"], "session": {"a": 1}}',
        b'{"verdict": "[[[[", "trigger": 1e999, "message": null}',
        b"\xff\xfe\x00",
        json.dumps({"verdict": verdict("one", 9).to_json().decode(), "trigger": [1], "message": None}).encode(),
        json.dumps({"verdict": verdict("one", 9).to_json().decode(), "trigger": 1, "message": {}}).encode(),
    ],
)
def test_a_journal_that_makes_no_sense_is_passed_over(tmp_path: Path, record: bytes) -> None:
    (tmp_path / JOURNAL).write_bytes(record + b"\n")
    with open_state(tmp_path) as state:
        assert state.issue(1) == [(1, 1)]


def test_a_journal_with_a_number_that_no_line_has_is_passed_over(tmp_path: Path) -> None:
    payload = verdict("one", 2**63).to_json().decode()
    (tmp_path / JOURNAL).write_text(json.dumps({"verdict": payload, "trigger": None, "message": None}))
    with open_state(tmp_path) as state:
        assert state.issue(1) == [(1, 1)]
