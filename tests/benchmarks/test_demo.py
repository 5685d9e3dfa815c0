"""The demo as a newcomer meets it, and on a data set of one's own."""

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

from core.simline.dataset import Amount, write_dataset
from edge.messages import json_schemas
from tests.support.mosquitto import binary

DEMO = [sys.executable, "-u", "-m", "edge.cli", "demo", "--rate", "5"]
QUICK = os.environ | {"ALFA_EDGE_METHOD__SCALES": "[3]", "ALFA_EDGE_METHOD__STRIDE": "3"}  # few windows


def test_a_data_set_teaches_and_is_judged_with_false_alarms_and_escapes(tmp_path: Path) -> None:
    for _ in write_dataset(tmp_path, ["metal_plate"], Amount(train=24, good=4, defective=1)):
        pass
    folder = tmp_path / "metal_plate"
    count = len(list(folder.glob("test/*/*.png")))
    command = [sys.executable, "-u", "-m", "edge.cli", "demo", "--source", str(folder), "--out", str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=QUICK)
    assert done.returncode == 0, done.stderr
    assert re.search(r"4 of 24 good parts enrolled; threshold .*, 5 % false alarms, from 20 good parts", done.stdout)
    said = re.search(
        rf"{count} of {count} parts judged: (\d) false alarms of 4 good parts .*; (\d+) escapes", done.stdout
    )
    assert said is not None, done.stdout
    assert int(said[1]) + int(said[2]) <= count // 3, "the bundled model was trained on such parts"
    assert " provisional" not in done.stdout
    assert "Traceback" not in done.stderr


def listen(port: str) -> "subprocess.Popen[str]":
    command = [binary("mosquitto_sub"), "-h", "127.0.0.1", "-p", port, "-t", "line/+/anomaly", "-W", "60"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


@pytest.mark.timeout(300)
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
