"""What is assumed of weights that nobody has a record of is in the log, with the settings that say it."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from edge.inspection.methods import Methods
from edge.settings import MethodSettings, ModelSettings
from tests.support import tiny_clip

tiny_models, weights = tiny_clip.tiny_models, tiny_clip.weights
METHOD = MethodSettings(scales=(2,))


def test_what_is_assumed_is_in_the_log_until_it_is_set(
    weights: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    chosen = {"name": tiny_clip.TINY, "weights": str(weights), "device": "cpu", "dtype": "fp32", "store": tmp_path}
    with caplog.at_level(logging.WARNING):
        plain = Methods(ModelSettings(**chosen)).get(METHOD)
    (said,) = [record.getMessage() for record in caplog.records]
    assert "assumed: mean [0.4815, 0.4578, 0.4082], std [0.2686, 0.2613, 0.2758], activation GELU" in said
    assert said.endswith("set model.mean, model.std and model.quick_gelu as their maker says")
    caplog.clear()
    half = (0.5, 0.5, 0.5)
    with caplog.at_level(logging.WARNING):
        known = Methods(ModelSettings(**chosen, mean=half, std=half, quick_gelu=True, image_size=160)).get(METHOD)
    assert not caplog.records
    assert known.backbone.fingerprint != plain.backbone.fingerprint
    assert (known.backbone.pixels.mean, known.backbone.grid) == (half, (10, 10))
