"""Which files `score` judges, and what it says of them."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
from PIL import Image

from core.detector import Detector
from core.filo.head import load_head
from core.method import Method
from edge.tools.score import ScoredPicture, find_pictures, report, score_pictures
from tests.support.filo_heads import random_head

LATIN_1 = os.fsdecode(b"caf\xe9.png")
"""A file's name as an older system wrote it: no UTF-8."""


def test_what_systems_leave_and_what_score_wrote_is_not_scored(tmp_path: Path) -> None:
    for name in (
        "a.png",
        "._a.png",
        "Thumbs.db",
        "__MACOSX/a.png",
        "out/parts/a.heatmap.png",
        "out/parts/a.overlay.jpg",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    assert [picture.path for picture in find_pictures([tmp_path])] == [tmp_path / "a.png"]


def test_any_name_of_a_file_can_be_said_in_json(tmp_path: Path) -> None:
    (tmp_path / LATIN_1).write_bytes(b"")
    (found,) = find_pictures([tmp_path])
    path = str(found.path)
    said = ScoredPicture(path=path, verdict="error", error=path, heatmap=path, overlay=path, threshold=0.5)
    assert json.loads(said.to_json()) == said.model_dump(mode="json", exclude_none=True)
    assert said.path.endswith(r"caf\udce9.png")


def test_filo_names_what_it_found(tmp_path: Path) -> None:
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)).save(tmp_path / "a.png")
    head = load_head(random_head(tmp_path))
    detector = Detector("bottle", method=head, tower=None, threshold=0.0)
    (found,) = score_pictures(detector, find_pictures([tmp_path / "a.png"]))
    assert found.regions
    for region in found.regions:
        assert region.descriptor in detector.pack.defects[region.defect or ""]
    told = report(detector, [found]).model
    assert (told.method, told.head) == ("filo", head.fingerprint)


def test_a_picture_that_is_too_small_for_its_tiles_is_an_error_and_the_rest_goes_on(tmp_path: Path) -> None:
    for name, size in (("a", 64), ("b", 20), ("c", 64)):
        values = np.random.default_rng(0).integers(0, 256, (size, size, 3), np.uint8)
        Image.fromarray(values).save(tmp_path / f"{name}.png")
    detector = Detector(model="untrained", method=Method(scales=(3,), stride=3), tiles=(2, 2))
    found = list(score_pictures(detector, find_pictures([tmp_path])))
    assert [one.verdict == "error" for one in found] == [False, True, False]
    assert found[1].error is not None
    assert found[1].error.startswith(f"{tmp_path / 'b.png'}: tiles 2 x 2 of a frame of 20 x 20")
