"""`score` with good parts to compare with."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from core import Detector
from core.simline import render
from edge.cli.app import app

runner = CliRunner()


@pytest.fixture
def parts(tmp_path: Path) -> Path:
    """A folder of two parts, one of them defective, and two good ones in `good`."""
    folder = tmp_path / "parts"
    (folder / "good").mkdir(parents=True)
    for index in range(2):
        Image.fromarray(render("bottle", 7, index, 0.0).image).save(folder / "good" / f"{index}.png")
    Image.fromarray(render("bottle", 7, 5, 0.0).image).save(folder / "fine.png")
    Image.fromarray(render("bottle", 7, 23, 1.0).image).save(folder / "broken.png")
    return folder


def test_parts_are_compared_with_normal_ones_as_a_detector_does(parts: Path) -> None:
    good = parts / "good"
    result = runner.invoke(app, ["score", str(parts), "--pack", "bottle", "--normal", str(good), "--json"])
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    detector = Detector("bottle", normal=sorted(good.iterdir()))
    expected = detector.judge_all([parts / "broken.png", parts / "fine.png"])
    assert [Path(one["path"]).name for one in report["pictures"]] == ["broken.png", "fine.png"], "no shot is judged"
    assert [one["score"] for one in report["pictures"]] == [judgement.score for judgement in expected]
    assert [one["threshold"] for one in report["pictures"]] == [detector.threshold] * 2
    assert report["pictures"][0]["verdict"] == "anomaly"
    assert report["pictures"][0]["scores"]["memory"] > 0
    assert report["normal"] == [str(path) for path in sorted(good.iterdir())]
    assert report["recipe"]["threshold_source"] == "provisional: from 2 shots, each against the others"
    assert report["model"]["tower"] == "efficientnet-lite0"
    assert report["provisional"]
    table = runner.invoke(app, ["score", str(parts / "fine.png"), "--pack", "bottle", "--normal", str(good)]).stdout
    assert f"{expected[1].score:.4f}" in table
    assert "tower efficientnet-lite0" in table
    assert "global" not in table, "the score is not made of the text's scores"


def test_a_tower_without_good_parts_is_refused(parts: Path) -> None:
    options = ["--pack", "bottle", "--tower", "efficientnet-lite0"]
    result = runner.invoke(app, ["score", str(parts / "fine.png"), *options])
    assert result.exit_code == 2
    assert "--normal" in result.stderr


def test_a_picture_that_shows_nothing_has_no_verdict(parts: Path) -> None:
    Image.fromarray(np.full((240, 240, 3), 128, np.uint8)).save(parts / "flat.png")
    result = runner.invoke(app, ["score", str(parts / "flat.png"), "--pack", "bottle", "--json"])
    assert result.exit_code == 1, result.output
    (picture,) = json.loads(result.stdout)["pictures"]
    assert picture["verdict"] == "error"
    assert "flat.png shows nothing: all its pixels are (128, 128, 128)" in picture["error"]


def test_noise_has_no_verdict_unless_parts_are_so_plain(parts: Path) -> None:
    noise = np.random.default_rng(0).normal(128, 2, (240, 240, 3)).astype(np.uint8)
    Image.fromarray(noise).save(parts / "noise.png")
    asked = ["score", str(parts / "noise.png"), "--pack", "bottle", "--json"]
    result = runner.invoke(app, asked)
    assert result.exit_code == 1, result.output
    assert "noise.png shows nothing: it is even but for noise" in json.loads(result.stdout)["pictures"][0]["error"]
    assert runner.invoke(app, [*asked, "--plain"]).exit_code == 0


def test_the_bits_that_were_recognised_are_said(parts: Path) -> None:
    values = np.asarray(Image.open(parts / "fine.png").convert("L")).astype(np.uint16)
    Image.fromarray(values << 4).save(parts / "deep.png")
    asked = ["score", str(parts / "deep.png"), "--pack", "bottle"]
    said = runner.invoke(app, asked).stdout
    assert "1 picture of 16 bits taken to use 12, as the values do; --bits says otherwise" in said
    (scored,) = json.loads(runner.invoke(app, [*asked, "--json"]).stdout)["pictures"]
    assert scored["bits"] == 12
    said = runner.invoke(app, [*asked, "--bits", "12", "--json"]).stdout
    (as_told,) = json.loads(said)["pictures"]
    assert (as_told["score"], "bits" in as_told) == (scored["score"], False)
    (dark,) = json.loads(runner.invoke(app, [*asked, "--bits", "16", "--json"]).stdout)["pictures"]
    assert dark.get("score") != scored["score"]


def test_tiles_are_those_of_a_detector(parts: Path) -> None:
    options = ["--pack", "bottle", "--tiles", "1x2", "--overlap", "0.1"]
    result = runner.invoke(app, ["score", str(parts / "broken.png"), *options])
    assert result.exit_code == 0, result.output
    expected = Detector("bottle", tiles=(1, 2), overlap=0.1).judge(parts / "broken.png")
    assert f"{expected.score:.4f}" in result.stdout
    assert runner.invoke(app, ["score", str(parts / "fine.png"), *options, "--tower", "none"]).exit_code == 0
    wrong = runner.invoke(app, ["score", str(parts), "--pack", "bottle", "--tiles", "2"])
    assert (wrong.exit_code, "write rows x columns, as 2x3" in wrong.stderr) == (2, True)


def test_normal_parts_that_say_nothing_are_refused(parts: Path) -> None:
    good = parts / "good"
    alone = runner.invoke(app, ["score", str(good), "--pack", "bottle", "--normal", str(good)])
    nowhere = runner.invoke(app, ["score", str(parts), "--pack", "bottle", "--normal", str(parts / "bad")])
    picture = runner.invoke(app, ["score", str(parts), "--pack", "bottle", "--normal", str(good / "0.png")])
    shutil.copy(good / "0.png", good / "2.png")
    twice = runner.invoke(app, ["score", str(parts), "--pack", "bottle", "--normal", str(good)])
    for result, message in (
        (alone, "all pictures are among the normal ones"),
        (nowhere, "bad: no such folder"),
        (picture, "0.png: a file; name a folder"),
        (twice, f"{good / '2.png'} is the same picture as {good / '0.png'}; leave it out"),
    ):
        assert result.exit_code == 2
        assert message in result.stderr
        assert "Traceback" not in result.stderr
