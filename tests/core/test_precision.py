"""Half precision may not change a verdict: its scores stay within 2e-3 of float32's."""

from pathlib import Path

import numpy as np
import pytest

from core.alfa import Alfa
from core.backbone import load_backbone
from core.image import read
from core.packs.pack import load_pack
from tests.support.photographs import photographs


@pytest.mark.parametrize("name", ["magnetic_tile"])
def test_bf16_stays_near_fp32(name: str, tmp_path: Path) -> None:
    frames = [read(path) for path in sorted(photographs(name, 12, tmp_path / name).iterdir())]
    inspected = []
    for dtype in ("fp32", "bf16"):
        alfa = Alfa(load_backbone("untrained", None, "cpu", dtype))
        text = alfa.embed(load_pack(name).prompts())
        inspected.append([one for frame in frames for one in alfa.inspect([frame], [text])])
    for full, half in zip(*inspected, strict=True):
        assert abs(full.score - half.score) <= 2e-3
        assert np.array_equal(full.kept_normal, half.kept_normal)
        assert np.array_equal(full.kept_abnormal, half.kept_abnormal)
