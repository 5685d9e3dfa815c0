"""Which files `score` judges, and what it says of them."""

from __future__ import annotations

import json
import os
from pathlib import Path

from edge.tools.score import ScoredPicture, find_pictures

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
