"""The examples of core/README.md run, one after the other, and its wrong calls are refused in its words."""

import re
from pathlib import Path
from textwrap import dedent
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from core import Detector
from core.alfa import Alfa
from core.packs.compiled import compile_pack
from core.simline import render

ROOT = Path(__file__).parents[2]
README = (ROOT / "core" / "README.md").read_text("utf-8")
EXAMPLES = re.findall(r"^```python\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
WRONG_CALLS = re.findall(r"^\| `(.+)` \| (.+) \|$", README.partition("\n## Wrong calls\n")[2], re.MULTILINE)[1:]


@pytest.fixture
def parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a defective bottle, and 13 good ones."""
    (tmp_path / "good").mkdir()
    for index in range(13):
        Image.fromarray(render("bottle", 7, index, 0.0).image).save(tmp_path / "good" / f"{index:03}.png")
    Image.fromarray(render("bottle", 7, 23, 1.0).image).save(tmp_path / "part.png")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_examples_run_and_find_the_defect(parts: Path) -> None:
    names: dict[str, Any] = {}
    for example in EXAMPLES:
        exec(compile(example, "core/README.md", "exec"), names)
    judgement = names["judgement"]
    assert judgement.verdict == "anomaly"
    assert not judgement.provisional
    assert names["detector"].calibration.rate == 0.1
    assert judgement.regions
    assert judgement.reasons
    assert len(names["judgements"]) == 2


def test_the_three_lines_of_the_readme_run(parts: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (example,) = re.findall(
        r"^The same in Python:\n\n(.*?)\n\n\S", (ROOT / "README.md").read_text("utf-8"), re.M | re.S
    )
    (parts / "parts").mkdir()
    (parts / "part.png").rename(parts / "parts" / "1.png")
    exec(compile(dedent(example), "README.md", "exec"), {})
    assert re.match(r"<(normal|anomaly): score 0\.\d+ ", capsys.readouterr().out)


@pytest.fixture(scope="module")
def names() -> dict[str, Any]:
    detector = Detector("bottle")
    alfa = Alfa(detector.backbone)
    return {
        "Detector": Detector,
        "Image": Image,
        "Path": Path,
        "alfa": alfa,
        "detector": detector,
        "np": np,
        "picture": render("bottle", 7, 0, 0.0).image,
        "text": alfa.text(compile_pack(detector.backbone, detector.pack)),
        "torch": torch,
    }


def test_there_are_wrong_calls_of_every_kind() -> None:
    assert len(WRONG_CALLS) >= 25
    assert len(set(WRONG_CALLS)) == len(WRONG_CALLS)


@pytest.mark.parametrize(("call", "message"), WRONG_CALLS, ids=[call for call, _ in WRONG_CALLS])
def test_a_wrong_call_is_refused_in_these_words(names: dict[str, Any], call: str, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)) as refused:
        eval(call, dict(names))
    assert str(refused.value) == message
