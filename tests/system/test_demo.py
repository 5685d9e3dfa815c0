"""The demo as a newcomer meets it: one command, and mosquitto_sub beside it."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from pathlib import Path

import jsonschema
import pytest
from typer.testing import CliRunner

from core.simline.dataset import Amount, write_dataset
from edge.cli.app import app
from edge.messages import json_schemas
from tests.support.mosquitto import binary

pytestmark = pytest.mark.timeout(300)  # it renders and scores the good parts of two lines first
DEMO = [sys.executable, "-u", "-m", "edge.cli", "demo", "--rate", "5"]
QUICK = os.environ | {"ALFA_EDGE_METHOD__SCALES": "[3]", "ALFA_EDGE_METHOD__STRIDE": "3"}  # few windows


def listen(port: str) -> "subprocess.Popen[str]":
    command = [binary("mosquitto_sub"), "-h", "127.0.0.1", "-p", port, "-t", "line/+/anomaly", "-W", "60"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_the_demo_judges_two_lines_anybody_can_listen_and_ctrl_c_ends_it_with_counts(tmp_path: Path) -> None:
    out = tmp_path / "overlays"
    errors = (tmp_path / "errors").open("w+")
    demo = subprocess.Popen([*DEMO, "--out", str(out)], stdout=subprocess.PIPE, stderr=errors, text=True, env=QUICK)
    assert demo.stdout is not None
    guard = threading.Timer(200, demo.kill)
    guard.start()
    head: list[str] = []
    for line in demo.stdout:
        head.append(line)
        if found := re.search(r"mosquitto_sub -h 127\.0\.0\.1 -p (\d+)", line):
            break
    assert found is not None, "".join(head)
    listener = listen(found[1])
    console = re.search(r"^console: (http://127\.0\.0\.1:\d+/)$", "".join(head), re.MULTILINE)
    assert console is not None, "".join(head)
    assert console.start() < "".join(head).index("enrolled"), "its address comes first"
    for line in demo.stdout:
        head.append(line)
        if " seq 12 " in line:
            with urllib.request.urlopen(f"{console[1]}api/v1/lines", timeout=20) as answer:
                assert set(json.load(answer)["lines"]) == {"plate-1", "wood-1"}
            demo.send_signal(signal.SIGINT)
            break
    printed = "".join(head) + demo.stdout.read()
    assert demo.wait(30) == 0, printed
    guard.cancel()
    with pytest.raises(urllib.error.URLError):  # it has ended with the demo
        urllib.request.urlopen(console[1], timeout=5)
    errors.seek(0)
    assert "Traceback" not in errors.read()
    listener.terminate()
    heard = [json.loads(line) for line in listener.communicate()[0].splitlines()]
    for one in heard:
        jsonschema.validate(one, json_schemas()["verdict"])
        assert one["model"]["name"].startswith("bundled")
        assert one["bank"]["shots"] == 4
        assert one["recipe"]["threshold_source"] == "5 % false alarms, from 46 simulated normals"
        assert not one["provisional"]
        assert one["simulated"]
    assert {one["line"] for one in heard} == {"plate-1", "wood-1"}
    for line in ("plate-1", "wood-1"):
        seqs = [one["seq"] for one in heard if one["line"] == line]
        assert seqs == list(range(seqs[0], seqs[0] + len(seqs)))
    assert re.search(r"plate-1: \d+ normal, \d+ anomaly, 0 error", printed)
    said = re.search(r"\d+ parts, accuracy ([01]\.\d{3}): ", printed)
    assert said is not None
    assert float(said[1]) >= 0.75, "200 parts make 0.9 and more; these are a few"
    counts = {kind: sum(int(n) for n in re.findall(rf"(\d+) {kind}", printed)) for kind in ("normal", "anomaly")}
    assert "provisional" not in printed
    assert counts["normal"] + counts["anomaly"] >= len(heard) > 0
    anomalies = [one for one in heard if one["verdict"] == "anomaly"]
    for one in anomalies:
        assert (out / one["heatmap"]["archive"]).exists()


def test_pictures_that_are_missing_are_refused_with_their_number(tmp_path: Path) -> None:
    for _ in write_dataset(tmp_path, ["wood"], Amount(train=3, good=1, defective=1)):
        pass
    for more, words in (
        (["--source", str(tmp_path / "wood")], "3 good training pictures; 24 are needed: put 21 more there"),
        (["--source", str(tmp_path / "wood"), "--good", str(tmp_path / "no")], "no: no such folder"),
        (["--source", "sim:wood", "--good-parts", "4"], "4 good parts are too few"),
    ):
        done = CliRunner().invoke(app, ["demo", *more])
        assert done.exit_code == 2
        assert words in done.stderr
