"""What an evaluation takes: memory on a large data set, and the cost of many settings beside one."""

import re
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from core.simline import render
from tests.support.parts import write_dataset

PICTURES = 2000
SIDE = 1024


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Plain folders with 2,000 different pictures of 1024 px, a quarter of them defective, with masks."""
    root = tmp_path_factory.mktemp("large")
    for folder in ("good", "bad", "masks"):
        (root / folder).mkdir()
    for index in range(PICTURES):
        bad = index % 4 == 0
        part = render("tile", 1, index, float(bad))
        picture, mask = (cv2.resize(one, (SIDE, SIDE)) for one in (part.image, part.mask))
        Image.fromarray(picture).save(root / ("bad" if bad else "good") / f"{index:04d}.jpg", quality=90)
        if bad:
            Image.fromarray(np.where(mask > 127, 255, 0).astype(np.uint8)).save(root / "masks" / f"{index:04d}.png")
    return root


@pytest.mark.timeout(3000)
def test_two_thousand_pictures_fit_into_4_gib(large: Path, tmp_path: Path) -> None:
    code = (
        "import re; from edge.cli.app import app\n"
        "try: app()\n"
        "finally: print('peak', re.search(r'VmHWM:\\s+(\\d+)', open('/proc/self/status').read())[1])"
    )
    command = [sys.executable, "-c", code, "evaluate", str(large), "--cache", str(tmp_path / "cache")]
    started = time.monotonic()
    run = subprocess.run([*command, "--report", str(tmp_path / "r.html")], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    peak = int(re.search(r"peak (\d+)", run.stdout)[1]) / 2**20  # type: ignore[index]
    print(f"{PICTURES} pictures of {SIDE} px: peak {peak:.2f} GiB, {time.monotonic() - started:.0f} s")
    assert peak <= 4


@pytest.mark.timeout(900)
def test_many_settings_cost_little_more_than_one(tmp_path: Path) -> None:
    root = write_dataset(tmp_path / "data", train=80, good=60, bad=60)
    taken = {}
    for name, shots in (("one", "0"), ("sixteen", "0,1,2,4")):
        command = [sys.executable, "-m", "edge.cli", "evaluate", str(root), "--shots", shots, "--seeds", "5"]
        started = time.monotonic()
        subprocess.run([*command, "--cache", str(tmp_path / name)], check=True, stdout=subprocess.DEVNULL)
        taken[name] = time.monotonic() - started
    print(f"one setting {taken['one']:.1f} s, sixteen {taken['sixteen']:.1f} s")
    assert taken["sixteen"] <= 1.5 * taken["one"]
