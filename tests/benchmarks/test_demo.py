"""The demo on a data set of one's own: it learns from its good parts, and counts false alarms and escapes."""

import os
import re
import subprocess
import sys
from pathlib import Path

from core.simline.dataset import Amount, write_dataset

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
