"""The console's channel on a running line: enrolment, calibration, audit."""

import sqlite3
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from core.bank.shot_checks import FLAGS
from core.image import decode, encode_png
from core.simline import render
from edge.cli.app import app
from edge.control.client import NoAnswerError, RefusedError, ask
from edge.ops.lock import LockError
from edge.service import Service
from edge.settings_file import CONFIG_VARIABLE
from tests.support.mosquitto import Mosquitto, eventually
from tests.support.quick import TOML
from tests.support.running import Running, service


@pytest.fixture
def running(mosquitto: Mosquitto, tmp_path: Path) -> Iterator[Running]:
    with service(mosquitto, tmp_path) as one:
        one.until(0)
        yield one


def picture(index: int) -> bytes:
    return encode_png(render("bottle", 1, 5000 + index, 0.0).image, {})


def test_shots_count_from_the_next_frame_on_and_go_again(running: Running) -> None:
    before = time.monotonic()
    found = running.ask("enroll", *(picture(index) for index in range(4)), line="one", yes=FLAGS, note="Monday")
    assert [one["shot"] for one in found["pictures"]] == [1, 2, 3, 4]
    assert found["bank"] == {"shots": 4, "revision": 4}
    first = running.until(4)
    assert time.monotonic() - before < 20
    assert first["model"]["few_shot"] == "evidence"
    assert 0 < first["heatmap"]["max"] <= first["scores"]["memory"] + 1e-6
    weights = running.ask("status")["lines"]["one"]["weights"]
    assert weights == running.ask("shots_list", line="one")["weights"]
    assert sum(weights.values()) == pytest.approx(1, abs=1e-3)
    running.ask("shots_remove", shot=2)
    assert running.until(3)["bank"] == {"shots": 3, "revision": 5}
    assert [one["id"] for one in running.ask("shots_list", line="one")["shots"]] == [1, 3, 4]
    assert len(running.ask("shots_list", line="one", all=True)["shots"]) == 4
    running.ask("shots_restore", shot=2)
    assert running.ask("status")["lines"]["one"]["bank"] == {"shots": 4, "revision": 6}
    seqs = [one["seq"] for one in running.verdicts()]
    assert seqs == list(range(1, len(seqs) + 1))  # no part was missed or answered twice


def test_the_lines_own_parts_are_enrolled_and_calibrated_on(running: Running) -> None:
    held = running.ask("enroll", line="one", shots=2)["pictures"]
    assert [one["shot"] for one in held] == [None, None]
    assert running.ask("shots_take", line="one", yes=FLAGS)["bank"]["shots"] == 2
    kept = running.ask("calibrate", line="one", rate=0.1, parts=9)["calibration"]
    assert kept["count"] == 9
    assert kept["rate"] == pytest.approx(0.1)
    recipe = running.ask("status")["lines"]["one"]["recipe"]
    assert recipe["threshold_source"] == "10 % false alarms, from 9 parts declared good"
    assert recipe["false_alarm_rate"] == pytest.approx(0.1)
    running.ask("enroll", picture(1), line="one", yes=FLAGS)
    changed = running.ask("status")["lines"]["one"]["recipe"]
    assert changed["threshold_source"].endswith("the shots have changed since")
    assert "false_alarm_rate" not in {key for key, value in changed.items() if value is not None}
    assert running.ask("calibrate", line="one", rate=0.25)["calibration"]["count"] == 3
    assert running.ask("threshold", line="one", threshold=0.9)["calibration"]["threshold"] == 0.9
    audit = running.ask("audit")["entries"]
    done = ["threshold", "calibrate", "enroll", "calibrate", "shots_take", "enroll"]
    assert [one["command"] for one in audit] == done
    assert all(one["outcome"] == "done" and one["who"] for one in audit)


def test_what_is_flagged_needs_a_yes(running: Running) -> None:
    black = encode_png(render("bottle", 1, 1, 0.0).image // 40, {})
    [found] = running.ask("enroll", black, line="one", names=["black.png"])["pictures"]
    assert found["shot"] is None
    assert "under_exposed" in {flag["code"] for flag in found["flags"]}
    assert running.ask("shots_list", line="one")["shots"] == []
    [found] = running.ask("enroll", black, line="one", names=["black.png"], yes=FLAGS)["pictures"]
    assert found["shot"] == 1


@pytest.mark.parametrize(
    ("command", "arguments", "message"),
    [
        ("dance", {}, "no command 'dance'; known: status"),
        ("enroll", {"line": "two", "shots": 1}, "no line 'two'; there are one"),
        ("enroll", {"line": "one"}, "one of the two"),
        ("enroll", {"line": "one", "shots": 1000}, "enroll: shots: Input should be less than or equal to 64"),
        ("shots_remove", {"shot": 9}, "9"),
        ("calibrate", {"line": "one"}, "2 shots or more"),
        ("threshold", {"line": "one", "threshold": 2}, "threshold"),
    ],
)
def test_what_cannot_be_done_is_refused_with_the_reason(
    running: Running, command: str, arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(RefusedError, match=message):
        running.ask(command, **arguments)
    assert running.ask("status")["lines"]["one"]["seq"] > 0


def test_no_picture_is_refused(running: Running) -> None:
    with pytest.raises(RefusedError, match=r"note\.txt"):
        running.ask("enroll", b"hello", line="one", names=["note.txt"])


def test_a_second_service_does_not_get_the_state(running: Running) -> None:
    with pytest.raises(LockError, match="another alfa-edge"):
        Service(running.settings).run(threading.Event())
    assert running.ask("status")["lines"]["one"]["seq"] > 0


def test_shots_and_threshold_outlive_the_service(mosquitto: Mosquitto, tmp_path: Path) -> None:
    with service(mosquitto, tmp_path) as one:
        one.until(0)
        one.ask("enroll", picture(0), picture(1), line="one", yes=FLAGS)
        one.ask("threshold", line="one", threshold=0.75)
    with service(mosquitto, tmp_path) as one:
        found = one.until(2)
    assert found["threshold"] == 0.75
    assert found["recipe"]["threshold_source"].startswith("set by ")


def test_nobody_there(tmp_path: Path) -> None:
    with pytest.raises(NoAnswerError, match="no service listens"):
        ask(tmp_path / "console.sock", "status", {})


def completed(config: Path, words: str) -> list[str]:
    """What the shell proposes where `words` were typed."""
    typing = {"COMP_WORDS": f"alfa-edge {words}", "COMP_CWORD": str(len(words.split(" ")))}
    variables = {"_ALFA_EDGE_COMPLETE": "complete_bash", CONFIG_VARIABLE: str(config)} | typing
    return CliRunner().invoke(app, [], env=variables, prog_name="alfa-edge").output.split()


def test_the_same_from_the_command_line(running: Running, tmp_path: Path) -> None:
    config = tmp_path / "edge.toml"
    config.write_text(
        f"[service]\nruntime_dir = '{tmp_path}'\nstate_dir = '{tmp_path}/state'\n"
        "[lines.one.camera]\nsource = 'sim:bottle'\n"
    )
    parts = pictures(tmp_path)
    run = partial(typed, config)
    assert "line one has 2 shots" in run("enroll", "--line", "one", *yes(), *map(str, parts))
    assert "held as candidate 1" in run("enroll", "--line", "one", str(dark(tmp_path)), code=1)
    assert "0.png" in run("shots", "list", "--line", "one")
    run("shots", "show", "1", "--out", str(tmp_path / "shot.png"))
    assert (tmp_path / "shot.png").read_bytes().startswith(b"\x89PNG")
    assert "put aside" in run("shots", "remove", "1")
    assert "counts again" in run("shots", "restore", "1")
    refused = " ".join(run("calibrate", "--line", "one", "--parts", "3", code=2).split())
    assert "3 good parts promise 25 %, not the 5 % asked for: show it 16 more (19 in all)" in refused
    assert "is not calibrated: show it good parts with `alfa-edge calibrate`" in run("status")
    assert "cannot promise 5 %" in run("calibrate", "--line", "one", "--parts", "3", "--accept", "0.25")
    assert "not calibrated" not in run("status")
    assert "set by" in run("threshold", "--line", "one", "0.8")
    assert "bottle" in run("status")
    assert "shots_remove" in run("audit", "--json")
    assert "no line 'two'" in run("threshold", "--line", "two", "0.8", code=2)
    assert "2 shots of line one" in run("shots", "export", str(tmp_path / "exported"), "--line", "one")
    assert "0 new shots; line one has 2" in run("shots", "import", str(tmp_path / "exported"), "--line", "one")
    assert "is paused" in run("pause", "--line", "one")
    assert "is paused: by " in run("status")
    assert "running" in run("resume", "--line", "one")
    assert "240 x 240 pixels" in run("snapshot", str(tmp_path / "now.jpg"))
    assert (tmp_path / "now.jpg").read_bytes().startswith(b"\xff\xd8")
    run("snapshot", str(tmp_path / "now.png"), "--line", "one", "--crop")
    assert (tmp_path / "now.png").read_bytes().startswith(b"\x89PNG")
    assert "ends in .jpg, .jpeg, .png" in run("snapshot", "now.gif", code=2)
    assert "of the history" in run("calibrate", "--line", "one", "--since", "1h", "--rate", "0.5")
    assert "line one: recipe default (1), pack tile" in run("recipe", "set", "--pack", "tile", "--line", "one")
    assert "tile" in run("recipe", "list")
    assert completed(config, "recipe set d") == ["default"]
    assert "state.db" in run("backup", str(tmp_path / "copies"))
    assert "part part-1 " in (said := run("trigger", "part-1", "--line", "one", code=1))
    assert ": error free_run: " in said
    assert '"code": "free_run"' in run("trigger", "part-1", "--json", code=1)
    seq = str(next(one["seq"] for one in running.verdicts() if one["verdict"] == "normal"))
    assert "missed" in run("feedback", "add", seq, "--line", "one", "--missed", "--note", "a dent")
    assert "say --false-alarm, --missed or --right" in run("feedback", "add", seq, "--line", "one", code=2)
    assert "a dent" in run("feedback", "list", "--line", "one")
    eventually(lambda: any(part["recipe"]["pack"] == "tile" for part in running.verdicts() if "score" in part))
    assert "known escapes" in run("feedback", "threshold", "--line", "one")


def test_another_pack_keeps_the_shots_and_takes_the_promise_back(running: Running) -> None:
    running.ask("enroll", picture(0), picture(1), line="one", yes=FLAGS)
    running.ask("calibrate", line="one", parts=3, accept=0.25)
    running.ask("recipe_set", line="one", pack="tile")
    one = running.ask("status")["lines"]["one"]
    assert one["recipe"]["pack"] == "tile"
    assert one["bank"]["shots"] == 2
    source = "provisional: from 2 shots, each against the others; the last calibration was with another pack"
    assert one["recipe"]["threshold_source"].startswith(source)
    assert one["provisional"]
    running.ask("shots_remove", shot=1)
    one = running.ask("status")["lines"]["one"]
    assert one["recipe"]["threshold_source"].startswith("uncalibrated; the last calibration was with another pack")
    assert one["recipe"]["threshold_source"].count("another pack") == 1
    assert one["threshold"] == 0.5
    running.ask("shots_restore", shot=1)
    running.ask("recipe_set", line="one", pack="bottle")
    one = running.ask("status")["lines"]["one"]
    assert "parts declared good; the shots have changed" in one["recipe"]["threshold_source"]
    assert one["provisional"]


def test_a_calibration_holds_for_the_region_that_it_was_made_of(mosquitto: Mosquitto, tmp_path: Path) -> None:
    def source() -> str:
        return str(running.ask("status")["lines"]["one"]["recipe"]["threshold_source"])

    with service(mosquitto, tmp_path) as running:
        running.ask("calibrate", line="one", parts=3, accept=0.25)
    with service(mosquitto, tmp_path, roi={"x": 10, "y": 10, "width": 200, "height": 200}) as running:
        assert source().startswith("uncalibrated; the last calibration was with another")
        pictures = [ask(running.socket, "snapshot", {"line": "one", "crop": crop})[1] for crop in (False, True)]
        assert [decode(picture).shape[:2] for (picture,) in pictures] == [(240, 240), (200, 200)]
        lossless = ask(running.socket, "snapshot", {"line": "one", "format": "png"})[1][0]
        assert set(decode(lossless)[9, 10:210].ravel()) == {0, 255}, "a line is drawn around the region"
    with service(mosquitto, tmp_path) as running:
        assert "parts declared good" in source()


def test_who_waits_for_parts_does_not_hold_up_the_end(running: Running) -> None:
    found: list[str] = []

    def wait() -> None:
        try:
            running.ask("calibrate", line="one", parts=10_000, timeout_s=600)
        except RefusedError as error:
            found.append(str(error))

    asking = threading.Thread(target=wait)
    asking.start()
    time.sleep(0.5)
    running.service.lines["one"].halt()
    asking.join(10)
    assert "has ended after" in found[0]


def test_without_a_service_on_the_state_itself(tmp_path: Path) -> None:
    config = tmp_path / "edge.toml"
    config.write_text(
        f"[service]\nruntime_dir = '{tmp_path}'\nstate_dir = '{tmp_path}/state'\n"
        "[model]\nname = 'untrained'\ndevice = 'cpu'\ndtype = 'fp32'\n"
        f"{TOML}[lines.one]\npack = 'bottle'\n[lines.one.camera]\nsource = 'sim:bottle'\n"
    )
    parts = pictures(tmp_path)
    run = partial(typed, config)
    assert "line one has 2 shots, revision 2" in run("enroll", "--line", "one", *yes(), *map(str, parts))
    assert "2 good parts promise 33.3 %" in run("calibrate", "--line", "one", code=2)
    assert "is not calibrated: show it good parts with `alfa-edge calibrate`" in run("status", code=1)
    assert "from 2 shots" in run("calibrate", "--line", "one", "--accept", "0.34")
    assert "not calibrated" not in run("status", code=1)
    assert "is not running" in run("calibrate", "--line", "one", "--parts", "19", code=2)
    assert "stopped" in run("status", "--json", code=1)
    assert "is not running" in run("pause", "--line", "one", code=2)
    assert "no recipe 'tile'" in run("recipe", "set", "tile", "--line", "one", code=2)

    database = sqlite3.connect(tmp_path / "state" / "state.db")
    database.execute("UPDATE features SET fingerprint = 'another model'")
    database.commit()
    database.close()
    assert "0.png" in run("shots", "list", "--line", "one")  # features are made anew from the pictures
    assert "features of 0 shots" in run("shots", "reembed", "--line", "one")
    database = sqlite3.connect(tmp_path / "state" / "state.db")
    (anew,) = database.execute("SELECT count(*) FROM features WHERE fingerprint != 'another model'").fetchone()
    database.close()
    assert anew


def typed(config: Path, *words: str, code: int = 0) -> str:
    """What a command says."""
    result = CliRunner().invoke(app, [*words, "--config", str(config)])
    assert result.exit_code == code, result.output
    return result.output


def pictures(folder: Path) -> list[Path]:
    """Files of two good parts."""
    parts = [folder / f"{index}.png" for index in range(2)]
    for index, part in enumerate(parts):
        part.write_bytes(picture(index))
    return parts


def dark(folder: Path) -> Path:
    path = folder / "black.png"
    path.write_bytes(encode_png(render("bottle", 1, 1, 0.0).image // 40, {}))
    return path


def yes() -> list[str]:
    """Whatever speaks against the pictures."""
    return [word for flag in FLAGS for word in ("--yes", flag)]
