"""A new line learns from good parts, and proposes shots, while it runs."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result
from typer.testing import CliRunner

from core.image import decode, encode_png
from core.simline import render
from edge.cli.app import app
from edge.control.client import RefusedError
from edge.control.client import ask as ask_console
from tests.support.mosquitto import Mosquitto, eventually
from tests.support.running import Running, service
from tests.support.service import toml

PATIENCE_S = 120.0


@pytest.fixture(autouse=True)
def _few_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts are judged in a quarter of the time."""
    monkeypatch.setenv("ALFA_EDGE_METHOD__SCALES", "[3]")
    monkeypatch.setenv("ALFA_EDGE_METHOD__STRIDE", "3")


@pytest.fixture
def running(mosquitto: Mosquitto, tmp_path: Path) -> Iterator[Running]:
    """A line whose parts are good."""
    with service(mosquitto, tmp_path) as one:
        yield one


def reasons(running: Running) -> list[str]:
    """What the line's state said, one after the other."""
    return [json.loads(one.payload).get("reason") or "" for one in running.messages.of("line/one/status")]


def test_a_running_line_learns_from_its_next_parts(running: Running) -> None:
    asked = ask_console(running.socket, "learn", {"line": "one", "parts": 9, "rate": 0.2}, timeout_s=PATIENCE_S)[0]
    shots = [one["shot"] for one in asked["pictures"]]
    assert 1 <= len(shots) <= 4
    assert None not in shots
    assert asked["bank"]["shots"] == len(shots)
    count = 9 - len(shots)
    assert asked["calibration"]["source"] == f"20 % false alarms, from {count} good parts of the first run"
    first = running.until(len(shots))
    eventually(lambda: not running.verdicts()[-1]["provisional"], PATIENCE_S)
    assert first["bank"]["shots"] == len(shots)
    said = reasons(running)
    for words in ("show it good parts: 3 of 9", "setting the threshold: good part 1 of "):
        assert any(words in one for one in said), said
    assert running.ask("status")["lines"]["one"]["reason"] is None
    with pytest.raises(RefusedError, match=r"line one has \d shots already, and a first run is for a line without"):
        running.ask("learn", line="one", parts=23)


def test_it_learns_from_pictures_and_leaves_empty_scenes_out(running: Running) -> None:
    running.ask("pause", line="one")
    pictures = [encode_png(render("bottle", 1, 5000 + index, 0.0).image) for index in range(8)]
    empty = encode_png(np.full((240, 240, 3), 128, np.uint8))
    asked, _ = ask_console(
        running.socket, "learn", {"line": "one", "names": ["a.png"], "accept": 0.3}, [empty, *pictures], PATIENCE_S
    )
    assert asked["notes"] == ["1 pictures of an empty scene are left out"]
    assert "good parts of the first run" in asked["calibration"]["source"]
    listed = running.ask("shots_list", line="one")["shots"]
    assert {(one["source"][:7], one["note"]) for one in listed} == {("picture", "first run")}
    with pytest.raises(RefusedError, match="first run is for a line without"):
        running.ask("learn", *pictures, line="one", accept=0.3)


def test_too_few_parts_are_refused_before_anybody_waits(running: Running) -> None:
    with pytest.raises(RefusedError, match=r"12 good parts promise 11.1 %, not 5 %: 23 are needed"):
        running.ask("learn", line="one", parts=12)
    with pytest.raises(RefusedError, match="3 good parts are too few"):
        running.ask("learn", line="one", parts=3, accept=1.0)
    running.ask("pause", line="one")
    with pytest.raises(RefusedError, match=r"has shown \d of 23 parts within 0.1 s"):
        running.ask("learn", line="one", parts=23, timeout_s=0.1)
    assert running.ask("status")["lines"]["one"]["bank"]["shots"] == 0


def test_shots_are_proposed_from_parts_that_nobody_has_sorted(running: Running) -> None:
    found = ask_console(running.socket, "suggest", {"line": "one", "parts": 6, "count": 3}, timeout_s=PATIENCE_S)[0]
    assert found["parts"] == 6
    assert 1 <= len(found["suggested"]) == len(found["pictures"]) <= 3
    verdicts = {one["seq"]: one["score"] for one in running.verdicts()}
    for one, held in zip(found["suggested"], found["pictures"], strict=True):
        assert verdicts[one["seq"]] == pytest.approx(one["score"])
        assert one["unlike"] >= 0
        assert (held["candidate"], held["shot"], held["note"]) == (one["candidate"], None, "suggested")
        picture = ask_console(running.socket, "shots_candidate", {"candidate": one["candidate"]})[1][0]
        assert decode(picture, "a part").ndim == 3
    assert running.ask("status")["lines"]["one"]["bank"]["shots"] == 0
    taken = running.ask("shots_take", line="one", yes=["anomalous"])
    assert taken["bank"]["shots"] == len([part for part in taken["pictures"] if part["shot"] is not None]) >= 1
    with pytest.raises(RefusedError, match="3 of 4 parts: only the half"):
        running.ask("suggest", line="one", parts=4, count=3)


def test_an_empty_scene_is_said_and_not_counted(mosquitto: Mosquitto, tmp_path: Path) -> None:
    folder = tmp_path / "empty"
    folder.mkdir()
    (folder / "0.png").write_bytes(encode_png(np.full((240, 240, 3), 128, np.uint8)))
    with service(mosquitto, tmp_path, camera={"source": str(folder), "rate": 10, "loop": True}) as running:
        refused: list[str] = []

        def ask() -> None:
            try:
                running.ask("learn", line="one", parts=23, timeout_s=5)
            except RefusedError as error:
                refused.append(str(error))

        waiting = threading.Thread(target=ask)
        waiting.start()
        eventually(lambda: any("camera_flat" in one for one in reasons(running)), PATIENCE_S)
        waiting.join(PATIENCE_S)
        assert refused[0].startswith("line one has shown 0 of 23 parts within 5 s")
        assert re.search(
            r"; [1-9]\d* came that could not be judged: `alfa-edge history --line one --kind error`", refused[0]
        )


def test_a_line_learns_from_a_folder_without_a_running_service(tmp_path: Path) -> None:
    config, good = tmp_path / "edge.toml", tmp_path / "good"
    tables = {
        "service": {"state_dir": str(tmp_path / "state"), "runtime_dir": str(tmp_path)},
        "model": {"name": "untrained", "device": "cpu", "dtype": "fp32"},
        "method": {"scales": [3], "stride": 3},
        "mqtt": {"host": "127.0.0.1"},
        "lines.one": {"pack": "bottle"},
        "lines.one.camera": {"source": "sim:bottle"},
    }
    config.write_text(toml(tables))
    good.mkdir()
    for index in range(8):
        (good / f"{index}.png").write_bytes(encode_png(render("bottle", 1, 5000 + index, 0.0).image))

    def run(*words: str) -> Result:
        return CliRunner().invoke(app, [words[0], "--config", str(config), "--line", "one", *words[1:]])

    refused = run("learn", "--good", str(tmp_path / "nowhere"))
    assert (refused.exit_code, "nowhere: no such folder" in refused.output) == (2, True)
    refused = run("learn", "--good", str(good))
    assert (refused.exit_code, "8 pictures; 24 are needed: put 16 more there" in refused.output) == (2, True)
    refused = run("learn", "--good", str(good), "--parts", "8")
    assert (refused.exit_code, "8 good parts promise 20 %, not 5 %" in refused.output) == (2, True)
    learned = run("learn", "--good", str(good), "--parts", "8", "--accept", "0.2")
    assert learned.exit_code == 0, learned.output
    assert "line one: enrolled as shots 1, " in learned.output
    assert "false alarms, from " in learned.output
    again = run("learn", "--good", str(good), "--parts", "8", "--accept", "0.2")
    assert (again.exit_code, "a first run is for a line without" in again.output) == (2, True)
    refused = run("suggest")
    assert (refused.exit_code, "is not running" in refused.output) == (2, True)
