"""Thresholds, feedback and copies of the shots, asked of a running line: what becomes of them, and what is refused."""

from __future__ import annotations

import itertools
import json
import re
import shutil
import sqlite3
import threading
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core import calibration
from core.bank.shot_checks import FLAGS
from core.image import Rgb, decode, encode_png, read
from core.simline import render
from edge.cli.when import parse_when
from edge.control.client import RefusedError
from edge.control.client import ask as ask_console
from edge.storage.history import History
from edge.storage.verdict_tables import stamp
from tests.support.mosquitto import Mosquitto, eventually
from tests.support.running import TOPIC, Running, service

PATIENCE_S = 60.0
BOTTLE = {"pack": "bottle", "camera": {"source": "sim:bottle?seed=2&rate=2&defects=0"}}


@pytest.fixture(autouse=True)
def _few_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts are judged in a quarter of the time."""
    monkeypatch.setenv("ALFA_EDGE_METHOD__SCALES", "[3]")
    monkeypatch.setenv("ALFA_EDGE_METHOD__STRIDE", "3")


def picture(index: int, part: str = "bottle") -> bytes:
    return encode_png(render(part, 1, 5000 + index, 0.0).image)


def heard(running: Running, count: int, **wanted: Any) -> list[dict[str, Any]]:
    """The verdicts since now whose fields are as wanted, once there are `count` of them."""
    place, found = len(running.messages.of(TOPIC)), list[dict[str, Any]]()

    def enough() -> bool:
        nonlocal place
        fresh = running.messages.of(TOPIC)[place:]
        place += len(fresh)
        found.extend(one for one in (json.loads(message.payload) for message in fresh) if wanted.items() <= one.items())
        return len(found) >= count

    eventually(enough, PATIENCE_S)
    return found


def hold(running: Running) -> None:
    """Judges no more parts, so that what is asked has the processor for itself."""
    running.ask("pause", line="one")


def archived(running: Running, verdict: dict[str, Any]) -> Path:
    """The picture of a verdict as the archive keeps it, once it does."""
    root = running.settings.archive.dir
    assert root is not None
    overlay = root / verdict["heatmap"]["archive"]
    eventually(overlay.exists, PATIENCE_S)
    return overlay.with_suffix(".picture.jpg")


def shown(running: Running, shot: int) -> Rgb:
    """The picture of a shot."""
    return decode(ask_console(running.socket, "shots_show", {"shot": shot}, timeout_s=PATIENCE_S)[1][0])


def codes(found: dict[str, Any]) -> list[str]:
    """What the one picture was flagged for."""
    [one] = found["pictures"]
    return [flag["code"] for flag in one["flags"]]


def outcomes(running: Running) -> list[tuple[str, str]]:
    """Command and outcome of the last entries of the audit, the oldest first."""
    return [(one["command"], one["outcome"]) for one in running.ask("audit")["entries"]][::-1]


def test_a_false_alarm_becomes_a_shot_by_one_command(mosquitto: Mosquitto, tmp_path: Path) -> None:
    with service(mosquitto, tmp_path, threshold=0.0, threshold_source="trial") as running:
        one, two, three = heard(running, 3, verdict="anomaly")[:3]
        hold(running)
        pictures = [read(archived(running, verdict)) for verdict in (one, two, three)]

        def say(verdict: dict[str, Any], **more: Any) -> dict[str, Any]:
            return running.ask("feedback", line="one", seq=verdict["seq"], kind="false_alarm", **more)

        first = say(one, note="a reflex")
        assert (first["score"], first["threshold"], first["threshold_now"]) == (one["score"], 0.0, 0.0)
        assert first["pictures"][0]["shot"] == 1
        assert first["bank"] == {"shots": 1, "revision": 1}
        second = say(two)
        assert codes(second) == ["anomalous"]  # which is what the feedback is about, and does not hold it up
        assert second["pictures"][0]["shot"] == 2
        for number, image in enumerate(pictures[:2], 1):
            assert np.array_equal(shown(running, number), image)

        again = say(two)
        assert codes(again) == ["near_duplicate", "anomalous"]
        assert "shot 2" in again["pictures"][0]["flags"][0]["message"]
        assert again["pictures"][0]["shot"] is None
        with pytest.raises(RefusedError, match="is shot 2 of line 'one' already"):
            say(two, yes=["near_duplicate"])

        pictures[2][0, 0] ^= 1
        running.ask("enroll", encode_png(pictures[2]), line="one", yes=FLAGS)
        assert say(three)["pictures"][0]["shot"] is None
        assert say(three, yes=FLAGS)["pictures"][0]["shot"] == 4

        running.ask("resume", line="one")
        assert running.until(4)["bank"] == {"shots": 4, "revision": 4}
        notes = {one["id"]: (one["source"], one["note"]) for one in running.ask("shots_list", line="one")["shots"]}
        assert notes[1] == (f"verdict {one['seq']}", "a reflex")
        said = [outcome for command, outcome in outcomes(running) if command == "feedback"]
        assert [one.partition(":")[0] for one in said] == ["done", "done", "done", "refused", "done", "done"]


def test_feedback_that_cannot_be_is_refused_with_the_reason(mosquitto: Mosquitto, tmp_path: Path) -> None:
    with service(mosquitto, tmp_path, threshold=0.0) as running:
        alarm = heard(running, 1, verdict="anomaly")[0]
        running.ask("threshold", line="one", threshold=1.0)
        good = heard(running, 1, verdict="normal")[0]
        error = running.ask("trigger", line="one", part_id="part-1")["verdict"]
        assert error["error"]["code"] == "free_run"
        hold(running)
        path = archived(running, alarm)

        def refused(seq: int, match: str, kind: str = "false_alarm", line: str = "one") -> None:
            with pytest.raises(RefusedError, match=match) as caught:
                running.ask("feedback", line=line, seq=seq, kind=kind, yes=FLAGS)
            assert caught.value.code == "refused"

        refused(good["seq"], f"verdict {good['seq']} of line one is normal, no alarm")
        refused(alarm["seq"], f"verdict {alarm['seq']} of line one is anomaly: it missed nothing", "missed")
        for kind in ("false_alarm", "missed"):
            refused(error["seq"], "is an error: nothing was judged", kind)
            refused(1_000_000, "is not in the history, which ends with", kind)
            refused(alarm["seq"], "no line 'two'; there are one", kind, line="two")
        path.unlink()
        refused(alarm["seq"], f"verdict {alarm['seq']} of line one has no picture to enrol: .* is gone, or was never")
        assert running.ask("status")["lines"]["one"]["bank"] == {"shots": 0, "revision": 0}
        assert rows(tmp_path / "state" / "state.db", "SELECT * FROM feedback") == []


def test_a_missed_defect_is_kept_as_evidence(
    mosquitto: Mosquitto, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALFA_EDGE_ARCHIVE__OK_EVERY", "2")
    with service(mosquitto, tmp_path, threshold=1.0) as running:
        judged = heard(running, 4, verdict="normal")
        hold(running)
        running.ask("threshold", line="one", threshold=0.25)
        here, gone = [one for one in judged if "archive" in one["heatmap"]][:2]
        never = next(one for one in judged if "archive" not in one["heatmap"])
        seen = read(archived(running, here))
        archived(running, gone).unlink()
        for verdict, picture, missing in (
            (here, True, None),
            (never, False, "was not archived; archive.dir and archive.ok_every say what is"),
            (gone, False, "is gone, or was never written"),
        ):
            found = running.ask("feedback", line="one", seq=verdict["seq"], kind="missed", note="a dent")
            assert (found["score"], found["threshold"]) == (verdict["score"], 1.0)
            assert found["threshold_now"] == 0.25
            assert (found["picture"], found["pictures"]) == (picture, [])
            assert found.get("missing") is None if missing is None else missing in found["missing"]
        kept = rows(tmp_path / "state" / "state.db", "SELECT seq, kind, note, shot, picture FROM feedback")
        assert [row[:4] for row in kept] == [
            (verdict["seq"], "missed", "a dent", None) for verdict in (here, never, gone)
        ]
        assert np.array_equal(decode(kept[0][4]), seen)
        assert [row[4] for row in kept[1:]] == [None, None]
        assert outcomes(running)[-3:] == [("feedback", "done")] * 3
        asked = json.loads(running.ask("audit")["entries"][0]["arguments"])
        assert (asked["seq"], asked["kind"], asked["note"]) == (gone["seq"], "missed", "a dent")


def test_a_stretch_of_the_history_gives_the_threshold_of_its_scores(mosquitto: Mosquitto, tmp_path: Path) -> None:
    with service(mosquitto, tmp_path) as running:
        began = heard(running, 4)[0]["issued_at"]
        running.ask("enroll", picture(0), line="one", yes=FLAGS)
        running.until(1)
        until = heard(running, 14)[-1]["issued_at"]
        hold(running)
        stretch = {"line": "one", "since": began, "until": until}
        kept = running.ask("calibrate", rate=0.2, **stretch)["calibration"]

        parts = [one for one in running.verdicts() if stamp(began) <= stamp(one["issued_at"]) < stamp(until)]
        present = [one for one in parts if one["bank"]["revision"] == 1]
        assert len(present) >= 10
        assert len(parts) >= len(present) + 4  # those that were judged without the shot do not count
        wanted = calibration.calibrate([one["score"] for one in present], 0.2)
        assert kept["threshold"] == min(1.0, wanted.threshold)
        assert kept["pixel_threshold"] == min(
            1.0, calibration.pixel_threshold([one["heatmap"]["max"] for one in present], 0.2)
        )
        assert (kept["count"], kept["rate"], kept["revision"]) == (len(present), 0.2, 1)
        assert kept["source"] == (
            f"20 % false alarms, from {len(present)} parts of the history from {began} to {until}, declared good"
        )
        recipe = running.ask("status")["lines"]["one"]["recipe"]
        assert (recipe["threshold_source"], recipe["false_alarm_rate"]) == (kept["source"], 0.2)

        nothing = f"judged no part from {began} to {until} with the recipe, model, pack and shots of now"
        running.ask("recipe_set", line="one", pack="tile")
        with pytest.raises(RefusedError, match=nothing):
            running.ask("calibrate", **stretch)
        running.ask("recipe_set", line="one", pack="bottle")
        running.ask("enroll", picture(1), line="one", yes=FLAGS)
        with pytest.raises(RefusedError, match=nothing):
            running.ask("calibrate", **stretch)
        for more, message in (
            ({"since": began, "parts": 3}, "not both"),
            ({"until": until, "parts": 3}, "not both"),
            ({"until": until}, "say with since where it begins"),
            ({"since": until, "until": began}, "judged no part"),
            ({"since": "2026-01-31T06:00:00"}, "since"),  # of which zone?
        ):
            with pytest.raises(RefusedError, match=message):
                running.ask("calibrate", line="one", **more)
        assert running.ask("status")["lines"]["one"]["threshold"] == kept["threshold"]


def test_too_few_parts_are_refused_before_anything_changes(mosquitto: Mosquitto, tmp_path: Path) -> None:
    def line() -> dict[str, Any]:
        return dict(running.ask("status")["lines"]["one"])

    def refused(message: str, **arguments: Any) -> None:
        before = line()["recipe"], line()["threshold"]
        with pytest.raises(RefusedError, match=message) as caught:
            running.ask("calibrate", line="one", **arguments)
        assert caught.value.code == "refused"
        assert (line()["recipe"], line()["threshold"]) == before
        assert rows(tmp_path / "state" / "state.db", "SELECT * FROM calibrations") == []

    with service(mosquitto, tmp_path) as running:
        began = heard(running, 2)[0]["issued_at"]
        until = heard(running, 1)[0]["issued_at"]
        running.ask("enroll", *(picture(index) for index in range(4)), line="one", yes=FLAGS)
        hold(running)
        four = (
            r"4 good parts promise 20 %, not the 5 % asked for: show it 15 more \(19 in all\), "
            r"or accept 20 % with --accept 0\.2"
        )
        refused(four)
        refused(four, parts=4, timeout_s=600)  # at once: nobody waits for the parts of a line that is held
        refused("1 good part promises 50 %, not the 2 % asked for: show it 48 more", parts=1, rate=0.02)
        running.ask("shots_remove", shot=1)
        refused("3 good parts promise 25 %, not the 20 % asked for: show it 1 more", rate=0.2)
        for shot in (2, 3, 4):
            running.ask("shots_remove", shot=shot)
        count = len([one for one in running.verdicts() if stamp(began) <= stamp(one["issued_at"]) < stamp(until)])
        with pytest.raises(RefusedError, match="judged no part"):  # none with the shots of now
            running.ask("calibrate", line="one", since=began, until=until, rate=0.01)
        refused("2 shots or more")  # which no yes mends
        refused("2 shots or more", accept=1.0)
        running.ask("resume", line="one")
        fresh = heard(running, 3, bank={"shots": 0, "revision": 8})
        hold(running)
        stretch = {"since": fresh[0]["issued_at"], "rate": 0.001}
        refused(r"\d+ good parts promise .* not the 0.1 % asked for", **stretch)
        assert count >= 2

        for shot in (1, 2, 3, 4):
            running.ask("shots_restore", shot=shot)
        kept = running.ask("calibrate", line="one", accept=0.2)["calibration"]
        assert (kept["count"], kept["rate"]) == (4, pytest.approx(0.2))
        assert kept["source"] == "20 % false alarms, from 4 shots, each against the others"
        assert not line()["provisional"]
    asked = [outcome for command, outcome in outcomes_of(tmp_path) if command == "calibrate"]
    assert asked[-1] == "done"
    assert all(one.startswith("refused: ") for one in asked[:-1])


def outcomes_of(folder: Path) -> list[tuple[str, str]]:
    """Command and outcome of the audit of a service that has ended, the oldest first."""
    return [(one[0], one[1]) for one in rows(folder / "state" / "state.db", "SELECT command, outcome FROM audit")]


def test_a_line_says_that_it_is_not_calibrated_until_it_is(mosquitto: Mosquitto, tmp_path: Path) -> None:
    note = "not calibrated: show it good parts with `alfa-edge learn`"

    def status() -> dict[str, Any]:
        return dict(json.loads(running.messages.of("line/one/status")[-1].payload))

    with service(mosquitto, tmp_path) as running:
        first = heard(running, 1)[0]
        assert (first["provisional"], first["threshold"]) == (True, 0.5)
        assert first["recipe"]["threshold_source"] == "uncalibrated"
        assert running.ask("trigger", line="one", part_id="p")["verdict"]["provisional"]  # of an error, too
        eventually(lambda: status().get("reason") == note, PATIENCE_S)
        eventually(lambda: status()["state"] == "running", PATIENCE_S)
        assert running.ask("status")["lines"]["one"]["reason"] == note
        assert running.service.lines["one"].gauges().provisional is True

        running.ask("enroll", picture(0), picture(1), line="one", yes=FLAGS)
        two = heard(running, 1, bank={"shots": 2, "revision": 2})[0]
        assert two["provisional"]
        assert two["recipe"]["threshold_source"] == "provisional: from 2 shots, each against the others"
        assert two["threshold"] != 0.5
        running.ask("calibrate", line="one", rate=0.2, parts=4)
        calibrated = heard(running, 2)[-1]
        assert not calibrated["provisional"]
        assert calibrated["recipe"]["false_alarm_rate"] == 0.2
        eventually(lambda: "reason" not in status(), PATIENCE_S)
        assert running.service.lines["one"].gauges().provisional is False

        running.ask("shots_remove", shot=1)
        stale = heard(running, 1, bank={"shots": 1, "revision": 3})[0]
        assert (stale["provisional"], stale["threshold"]) == (True, calibrated["threshold"])
        running.ask("threshold", line="one", threshold=0.75)
        assert not heard(running, 2)[-1]["provisional"]
        running.ask("shots_restore", shot=1)
        assert not heard(running, 1, bank={"shots": 2, "revision": 4})[0]["provisional"]  # a person has decided
        seq = first["seq"]
    kept = History(tmp_path / "state")
    assert kept.entry("one", seq).provisional
    assert not kept.verdicts("one", count=1)[0].provisional


def test_drift_is_told_everywhere_until_a_new_calibration(
    mosquitto: Mosquitto, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALFA_EDGE_SERVICE__STATS_INTERVAL_S", "0.2")
    with service(mosquitto, tmp_path) as running:

        def said(kind: str) -> dict[str, Any]:
            messages = running.messages.of(f"line/one/{kind}")
            return dict(json.loads(messages[-1].payload)) if messages else {}

        def drift() -> dict[str, Any]:
            return dict(running.ask("status")["lines"]["one"]["drift"])

        # The shots are of other parts than the camera shows, so that it is as if the parts had changed since.
        running.ask("enroll", *(picture(index, "tile") for index in range(10)), line="one", yes=FLAGS)
        running.ask("calibrate", line="one", rate=0.1)
        eventually(lambda: said("stats").get("drift") is True, PATIENCE_S)
        reason = drift()["reason"]
        assert drift()["drifting"]
        assert re.match(r"[\d.]+ % of the last \d+ parts (alarmed|scored above)", reason)
        assert said("stats")["drift_reason"] == reason
        eventually(lambda: f"drift: {reason}; calibrate anew" in (said("status").get("reason") or ""), PATIENCE_S)
        assert reason in running.ask("status")["lines"]["one"]["reason"]

        hold(running)
        running.ask("calibrate", line="one", rate=0.1)  # from the same shots: equal to the one before, but a new one
        assert (drift()["drifting"], drift()["reason"], drift()["parts"]) == (False, "", 0)
        running.ask("resume", line="one")
        running.ask("calibrate", line="one", rate=0.1, parts=10)
        heard(running, 14)
        assert drift()["parts"] >= 10
        assert not drift()["drifting"]
        eventually(lambda: said("stats").get("drift") is False, PATIENCE_S)
        assert "drift_reason" not in said("stats")
        eventually(lambda: "drift" not in (said("status").get("reason") or ""), PATIENCE_S)


def test_shots_travel_to_another_line_and_to_another_service(
    mosquitto: Mosquitto, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    exported = tmp_path / "exported"
    monkeypatch.setenv("ALFA_EDGE_LINES", json.dumps({"two": BOTTLE}))
    with service(mosquitto, tmp_path / "here") as here:
        hold(here)
        here.ask("enroll", picture(0), picture(1), line="one", yes=FLAGS, note="Monday")
        for command in ("shots_export", "shots_import"):
            with pytest.raises(RefusedError, match="exported: name it from the root"):
                here.ask(command, line="one", folder="exported")
        assert here.ask("shots_export", line="one", folder=str(exported))["shots"] == [1, 2]
        found = here.ask("shots_import", line="two", folder=str(exported))
        assert found == {"shots": [3, 4], "bank": {"shots": 2, "revision": 2}, "notes": []}
        assert here.ask("shots_import", line="two", folder=str(exported)) == found | {"shots": []}
        lines = here.ask("status")["lines"]
        assert [lines[name]["bank"]["revision"] for name in ("one", "two")] == [2, 2]
    monkeypatch.delenv("ALFA_EDGE_LINES")

    altered = exported / "shot-000002.png"
    whole = altered.read_bytes()
    with service(mosquitto, tmp_path / "there") as there:
        altered.write_bytes(whole[:-20] + b"\0" + whole[-19:])
        with pytest.raises(RefusedError, match=r"shot-000002\.png is not the picture that was exported"):
            there.ask("shots_import", line="one", folder=str(exported))
        assert there.ask("shots_list", line="one", all=True)["shots"] == []  # not even the first one
        altered.write_bytes(whole)
        assert there.ask("shots_import", line="one", folder=str(exported))["shots"] == [1, 2]
        assert there.ask("shots_import", line="one", folder=str(exported))["shots"] == []
        assert there.until(2)["bank"] == {"shots": 2, "revision": 2}
        [one, two] = there.ask("shots_list", line="one")["shots"]
        assert (one["note"], two["note"]) == ("Monday", "Monday")
        assert one["source"].startswith("picture 1 (line one, added by ")
        assert np.array_equal(shown(there, 2), decode(whole))


def test_a_stretch_that_begins_before_all_time_is_refused() -> None:
    with pytest.raises(ValueError, match="'999999d' is no time"):
        parse_when("999999d")


def rows(path: Path, query: str) -> list[Any]:
    """What a query of a database file finds."""
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as database:
        return database.execute(query).fetchall()


def bank(path: Path, last: int) -> dict[str, list[Any]]:
    """All of the bank's tables, to the last byte, up to a shot."""
    return {
        "shots": rows(path, f"SELECT * FROM shots WHERE id <= {last} ORDER BY id"),
        "features": rows(path, f"SELECT * FROM features WHERE shot <= {last} ORDER BY shot, variant, kind"),
        "revisions": rows(path, f"SELECT * FROM bank_revisions WHERE shot <= {last} ORDER BY revision"),
    }


def test_a_backup_during_writes_restores_to_the_bank_of_one_moment(mosquitto: Mosquitto, tmp_path: Path) -> None:
    copy, acknowledged, enough = tmp_path / "copy", [], threading.Event()
    with service(mosquitto, tmp_path / "here") as running:
        running.until(0)

        def enrol() -> None:
            for index in itertools.count():
                [one] = running.ask("enroll", picture(index), line="one", yes=FLAGS)["pictures"]
                acknowledged.append(one["shot"])
                if enough.is_set():
                    return

        enrolling = threading.Thread(target=enrol)
        enrolling.start()
        try:
            eventually(lambda: len(acknowledged) >= 2, PATIENCE_S)
            before, issued = list(acknowledged), running.verdicts()[-1]["seq"]
            files = running.ask("backup", folder=str(copy))["files"]
            after = len(acknowledged)
            eventually(lambda: len(acknowledged) > after, PATIENCE_S)  # it went on meanwhile, and goes on
        finally:
            enough.set()
            enrolling.join()
        heard(running, 1)
        [later] = running.ask("enroll", picture(9999), line="one", yes=FLAGS)["pictures"]
    state, verdicts = copy / "state.db", copy / "verdicts.db"
    assert files == {str(path): path.stat().st_size for path in (state, verdicts)}
    for path in (state, verdicts):
        assert rows(path, "PRAGMA integrity_check") == [("ok",)]
        assert rows(path, "PRAGMA foreign_key_check") == []
    kept = [shot for (shot,) in rows(state, "SELECT id FROM shots ORDER BY id")]
    assert kept == [*range(1, len(kept) + 1)]
    assert set(before) <= set(kept)
    assert later["shot"] not in kept
    assert bank(state, 10_000) == bank(tmp_path / "here" / "state" / "state.db", len(kept))
    seqs = [seq for (seq,) in rows(verdicts, "SELECT seq FROM verdicts ORDER BY seq")]
    assert seqs == [*range(1, len(seqs) + 1)]
    assert len(seqs) >= issued

    shutil.copytree(copy, tmp_path / "there" / "state")
    with service(mosquitto, tmp_path / "there") as restored:
        assert restored.ask("status")["lines"]["one"]["bank"] == {"shots": len(kept), "revision": len(kept)}
        fresh = heard(restored, 1, bank={"shots": len(kept), "revision": len(kept)})[0]
        assert fresh["seq"] > len(seqs)
