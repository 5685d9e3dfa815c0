from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core.evaluate.datasets import Sample
from core.simline import render
from edge.tools.demo_score import FolderScore, SimulatedLine, SimulatedScore

LINE = SimulatedLine("bottle", 7, 0.5)


def verdict(frame: int, kind: str, peak: tuple[int, int] = (0, 0), line: str = "one") -> dict[str, Any]:
    return {"line": line, "verdict": kind, "camera": {"frame": frame}, "heatmap": {"peak": list(peak)}}


@pytest.fixture(scope="module")
def parts() -> tuple[int, int, tuple[int, int]]:
    """Frame numbers of a good and of a defective part, and a pixel of its defect."""
    samples = [render(LINE.part, LINE.seed, index, LINE.defects) for index in range(20)]
    bad = next(index for index, one in enumerate(samples) if one.defects)
    good = next(index for index, one in enumerate(samples) if not one.defects)
    row, col = np.argwhere(samples[bad].mask)[0]
    return good + 1, bad + 1, (int(col), int(row))


def test_verdicts_are_held_against_what_was_simulated(parts: tuple[int, int, tuple[int, int]]) -> None:
    good, bad, spot = parts
    score = SimulatedScore({"one": LINE})
    away = (239 - spot[0], 239 - spot[1])
    assert max(abs(away[0] - spot[0]), abs(away[1] - spot[1])) > 40
    for one in (
        verdict(good, "normal"),
        verdict(good, "anomaly", (0, 0)),
        verdict(bad, "anomaly", spot),
        verdict(bad, "anomaly", away),
        verdict(bad, "normal"),
        verdict(bad, "error"),
        verdict(bad, "normal", line="other"),
    ):
        score.take(one)
    assert (score.parts, score.right, score.defective, score.found, score.located) == (5, 3, 3, 2, 1)
    assert str(score) == (
        "5 parts, accuracy 0.600: 2 of 3 defective parts found, 1 of them with the heatmap's peak on the defect; "
        "1 of 2 good parts called anomalous"
    )


def test_nothing_judged_is_said() -> None:
    assert str(SimulatedScore({})) == "no part was judged"


def test_verdicts_are_held_against_the_folders_of_the_pictures() -> None:
    kinds = ["good", "good", "dent", "dent", "scratch", "good"]
    score = FolderScore("one", [Sample(Path(f"{kind}/0.png"), kind != "good", kind) for kind in kinds])
    assert str(score) == "no part was judged"
    said = ["normal", "anomaly", "anomaly", "normal", "anomaly", "error"]
    for frame, kind in enumerate(said, 1):
        score.take(verdict(frame, kind))
    score.take(verdict(7, "anomaly"))
    score.take(verdict(1, "anomaly", line="other"))
    assert str(score) == (
        "5 of 6 parts judged: 1 false alarms of 2 good parts (50.0 %); 1 escapes of 3 defective parts (33.3 %); "
        "escapes by kind: dent 1 of 2, scratch 0 of 1; 1 errors"
    )
