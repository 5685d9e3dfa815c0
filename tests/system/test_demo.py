"""The demo as a newcomer meets it: one command, and mosquitto_sub beside it."""

import os
import re
import signal
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from typer.testing import CliRunner

from core.simline.dataset import Amount, write_dataset
from edge.cli.app import app

pytestmark = pytest.mark.timeout(300)  # it scores good parts first
DEMO = [sys.executable, "-u", "-m", "edge.cli", "demo", "--rate", "5"]
QUICK = os.environ | {"ALFA_EDGE_METHOD__SCALES": "[3]", "ALFA_EDGE_METHOD__STRIDE": "3"}  # few windows


def test_the_demo_of_a_source_says_where_to_look_learns_and_judges(tmp_path: Path) -> None:
    words = ["--source", "sim:wood", "--good-parts", "24", "--out", str(tmp_path / "overlays")]
    with (tmp_path / "errors").open("w+") as errors:
        demo = subprocess.Popen([*DEMO, *words], stdout=subprocess.PIPE, stderr=errors, text=True, env=QUICK)
        guard = threading.Timer(200, demo.kill)
        guard.start()
        assert demo.stdout is not None
        printed: list[str] = []
        for line in demo.stdout:
            printed.append(line)
            if "camera seq " in line and " provisional" not in line:
                demo.send_signal(signal.SIGINT)
                break
        said = "".join(printed) + demo.stdout.read()
        assert demo.wait(30) == 0, said
        guard.cancel()
        errors.seek(0)
        assert "Traceback" not in errors.read()
    console = re.search(r"^console: (http://127\.0\.0\.1:\d+/)$", said, re.MULTILINE)
    assert console is not None, said
    taught = re.search(r"4 of 24 good parts enrolled; threshold 0\.\d+, 5 % false alarms", said)
    assert taught is not None, said
    assert console.start() < taught.start(), "its address comes first"
    assert re.search(r"mosquitto_sub -h 127\.0\.0\.1 -p \d+", said)
    assert re.search(r"camera: \d+ normal, \d+ anomaly, 0 error", said)
    with pytest.raises(urllib.error.URLError):  # it has ended with the demo
        urllib.request.urlopen(console[1], timeout=5)


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
