"""A reply says what was done; that something of it could not be written is an alarm."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from core.bank.shot_checks import FLAGS
from core.bank.shot_folder import export_shots
from core.database.database import DatabaseError
from core.image import Rgb
from core.simline import render
from edge.control.dispatcher import Dispatcher
from edge.control.offline import LineAtRest
from edge.storage.settings_database import SettingsTables
from tests.support.at_rest import LineOnFilm, asked, at_rest
from tests.support.disk import NoDiskError, SmallDisk


def good(number: int) -> Rgb:
    return render("bottle", 1, 5000 + number, 0.0).image


def until_an_alarm(dispatcher: Dispatcher, *commands: str) -> list[dict[str, object]]:
    """The results of commands, until one of them could not be written: a database has some room of its own."""
    results = []
    for _ in range(500):
        for command in commands:
            reply = asked(dispatcher, command, line="one")
            assert reply.refusal is None, reply.refusal
            results.append(dict(reply.result or {}))
        if dispatcher.alarms.every():
            return results
    raise AssertionError("the disk takes all of it")


def set_until_it_fails(dispatcher: Dispatcher) -> None:
    for _ in range(500):
        asked(dispatcher, "threshold", line="one", threshold=0.7)


def test_what_was_done_is_not_called_failed_as_the_disk_takes_no_audit(tmp_path: Path) -> None:
    try:
        with SmallDisk(tmp_path / "state") as disk, at_rest(tmp_path) as dispatcher:
            line = LineOnFilm(dispatcher, good)
            disk.fill()
            results = until_an_alarm(dispatcher, "pause", "resume")
            assert {"state": "paused", "kept": False} in results or {"state": "running", "kept": False} in results
            asked(dispatcher, "pause", line="one")
            assert line.paused == "eva"
            alarms = {alarm.code: alarm for alarm in dispatcher.alarms.every()}
            assert set(alarms) == {"audit", "line_settings"}
            assert (alarms["audit"].line, alarms["line_settings"].line) == (None, "one")
            assert "pause by eva (done) is not in the audit" in alarms["audit"].message
            assert "line one is paused by eva; a restart would undo that" in alarms["line_settings"].message
            disk.clear()
            assert asked(dispatcher, "pause", line="one").result == {"state": "paused"}
            assert dispatcher.alarms.every() == []
            assert dispatcher.database.run(lambda tables: tables.paused("one")) == "eva"
    except NoDiskError as error:
        pytest.skip(str(error))


def test_what_fails_itself_is_told_as_before(tmp_path: Path) -> None:
    try:
        with SmallDisk(tmp_path / "state") as disk, at_rest(tmp_path) as dispatcher:
            disk.fill()
            with pytest.raises(DatabaseError, match="make room on its disk"):
                set_until_it_fails(dispatcher)
    except NoDiskError as error:
        pytest.skip(str(error))


def test_a_pause_and_other_lines_do_not_wait_for_an_import(tmp_path: Path) -> None:
    exported = tmp_path / "exported"
    with at_rest(tmp_path, shots={"augment": "flips"}) as dispatcher:
        dispatcher.enrolment.enrol(
            dispatcher.ready("two"), [(str(n), good(n)) for n in range(2)], who="eva", note="", accepted=set(FLAGS)
        )
        dispatcher.database.read(lambda tables: export_shots(tables.bank, "two", exported))
        LineOnFilm(dispatcher, good)
        imported: list[object] = []

        def bring() -> None:
            imported.append(asked(dispatcher, "shots_import", line="one", folder=str(exported)).result)

        importing = threading.Thread(target=bring)
        began = time.monotonic()
        importing.start()
        took: list[float] = []
        assert asked(dispatcher, "threshold", line="two", threshold=0.5).refusal is None
        while importing.is_alive():
            for command in ("pause", "resume"):
                before = time.monotonic()
                assert asked(dispatcher, command, line="one").refusal is None
                took.append(time.monotonic() - before)
            time.sleep(0.02)
        importing.join()
        whole = time.monotonic() - began
    assert imported
    assert len(took) > 4, "the import was over too soon"
    print(f"the slowest of {len(took)} took {max(took):.3f} s, the import {whole:.1f} s")
    assert max(took) < whole / 3, "it would have waited for most of the import"


def test_two_enrolments_of_one_line_take_turns(tmp_path: Path) -> None:
    with at_rest(tmp_path) as dispatcher:
        asking = [
            threading.Thread(
                target=dispatcher.enrolment.enrol,
                args=(dispatcher.ready("one"), [(f"{name} {n}", good(10 * name + n)) for n in range(3)]),
                kwargs={"who": "eva", "note": "", "accepted": set(FLAGS)},
            )
            for name in range(2)
        ]
        for one in asking:
            one.start()
        for one in asking:
            one.join()
        sources = [shot.source for shot in dispatcher.database.run(lambda tables: tables.bank.shots("one"))]
        bank = dispatcher.line("one").recipe.bank
    assert [source[0] for source in sources] in (["0"] * 3 + ["1"] * 3, ["1"] * 3 + ["0"] * 3)
    assert (bank.shots, bank.revision) == (6, 6)


def test_a_line_that_is_not_configured_is_forgotten(tmp_path: Path) -> None:
    forgotten: list[str] = []
    with at_rest(tmp_path) as dispatcher:
        dispatcher.forget = forgotten.append
        dispatcher.database.run(lambda tables: tables.set_paused("old", "eva"))
        refusal = asked(dispatcher, "line_forget", line="one").refusal
        assert refusal is not None
        assert "line one is configured; take it out" in refusal.message
        refusal = asked(dispatcher, "line_forget", line="+/status").refusal
        assert refusal is not None
        assert "is no name for a line" in refusal.message
        assert asked(dispatcher, "line_forget", line="old").result == {"line": "old"}
        assert forgotten == ["old"]
        assert dispatcher.database.run(lambda tables: tables.paused("old")) is None
        [entry, *_] = dispatcher.database.run(lambda tables: SettingsTables.audit(tables, 1))
        assert (entry["command"], entry["outcome"]) == ("line_forget", "done")


def test_a_line_at_rest_is_told_that_nobody_can_forget(tmp_path: Path) -> None:
    with at_rest(tmp_path) as dispatcher:
        assert isinstance(dispatcher.line("one"), LineAtRest)
        refusal = asked(dispatcher, "line_forget", line="old").refusal
        assert refusal is not None
        assert "no service is running that could tell the broker" in refusal.message
