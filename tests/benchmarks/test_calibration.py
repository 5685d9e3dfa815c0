"""False alarms on simulated lines at thresholds from few good parts: what calibration promises, and what it keeps.

ALFA_EDGE_BENCH_MODEL names the model, ALFA_EDGE_BENCH_PARTS the parts of each line (600).
"""

import math
import os

import numpy as np
import pytest
from numpy.typing import NDArray

from core.alfa import Alfa
from core.backbone import DEFAULT, load_backbone
from core.calibration import calibrate
from core.packs.pack import load_pack
from core.simline import render

MODEL = os.environ.get("ALFA_EDGE_BENCH_MODEL", DEFAULT)
PARTS = int(os.environ.get("ALFA_EDGE_BENCH_PARTS", "600"))
CLASSES = ("bottle", "gear", "pcb", "tile")
COUNTS = (19, 49, 99)
REPETITIONS = 200
RATE = 0.05
BATCH = 8


@pytest.fixture(scope="module")
def lines() -> dict[str, NDArray[np.float64]]:
    """The scores of good parts of one line of each class."""
    alfa = Alfa(load_backbone(MODEL, None))
    return {name: scores_of(alfa, name) for name in CLASSES}


def scores_of(alfa: Alfa, name: str) -> NDArray[np.float64]:
    text = alfa.embed(load_pack(name).prompts())
    scores: list[float] = []
    for start in range(0, PARTS, BATCH):
        frames = [render(name, 1, index, 0.0).image for index in range(start, min(start + BATCH, PARTS))]
        scores += [one.score for one in alfa.inspect(frames, [text] * len(frames))]
    return np.array(scores)


@pytest.mark.timeout(3000)
def test_false_alarms_on_fresh_normals_are_within_the_promise(lines: dict[str, NDArray[np.float64]]) -> None:
    """200 random splits of each line into n parts that calibrate and the rest, which are fresh.

    Where (n + 1) a is whole, as for 19 and 99, the rate is a in the mean and no lower: that chance puts one cell in six
    more than one standard error above it. So the mean over all lines is shown beside each line's, and a cell fails at
    three standard errors.
    """
    rng = np.random.default_rng(0)
    print(f"\n{MODEL}, {PARTS} good parts of each line, {REPETITIONS} splits; asked for {RATE:.0%}")
    print(f"{'':8}" + "".join(f"{f'n = {count}':>20}" for count in COUNTS))
    measured = {
        name: {count: [false_alarms(rng.permutation(scores), count) for _ in range(REPETITIONS)] for count in COUNTS}
        for name, scores in lines.items()
    }
    measured["all"] = {count: [rate for line in measured.values() for rate in line[count]] for count in COUNTS}
    for name, line in measured.items():
        cells = [f"{np.mean(rates):8.4f} +- {error_of(rates):.4f}" for rates in line.values()]
        print(f"{name:8}" + "".join(f"{cell:>20}" for cell in cells))
    for line in measured.values():
        for rates in line.values():
            assert np.mean(rates) <= RATE + 3 * error_of(rates)


def false_alarms(scores: NDArray[np.float64], count: int) -> float:
    """The share of the scores after the first `count`, which calibrate, that alarm."""
    return float((scores[count:] >= calibrate(scores[:count].tolist(), RATE).threshold).mean())


def error_of(rates: list[float]) -> float:
    """The standard error of their mean."""
    return float(np.std(rates, ddof=1)) / math.sqrt(len(rates))
