"""`alfa-edge cameras`: what an integrator sees first."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from core.image import read
from core.tiles import Tiling, smallest_defect
from edge.cli.app import app
from edge.settings import Roi
from edge.tools.camera_picture import camera_picture
from tests.support.gige import GigECamera
from tests.support.pictures import write_folder

run = CliRunner().invoke


def test_a_gige_camera_is_listed_opened_and_drawn(gige: GigECamera, tmp_path: Path) -> None:
    found = json.loads(run(app, ["cameras", "--json"]).stdout)
    assert {"source": gige.source, "camera": "Aravis Fake, serial GV01", "where": "GigE Vision, 127.0.0.1"} in (
        found["cameras"]
    )
    picture = tmp_path / "region.png"
    options = [
        "--picture",
        str(picture),
        "--roi",
        "64,32,256,320",
        "--tiles",
        "1x2",
        "--set",
        "ExposureTimeAbs=9000",
    ]
    opened = run(app, ["cameras", gige.source, *options, "--trigger", "software", "--json"])
    assert opened.exit_code == 0, opened.output
    said = json.loads(opened.stdout)
    modes = {mode["name"]: mode for mode in said["modes"]}
    assert modes["PixelFormat"]["now"] == "Mono8"
    assert "BayerRG8" in modes["PixelFormat"]["choice"]
    assert modes["Width"]["choice"] == "1 to 2048"
    assert (said["width"], said["height"], said["fault"]) == (512, 512, None)
    tile = Tiling(1, 2).tile_size((320, 256))
    assert said["smallest_defect"] == smallest_defect(tile, (240, 240))
    drawn = read(picture)
    assert drawn.shape == (512, 512, 3)
    assert drawn[32, 200].tolist() == [230, 97, 0], "the region's edge"


def test_a_folder_is_opened_and_its_rows_fit_the_terminal(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "parts", 2)
    opened = run(app, ["cameras", str(folder)])
    assert opened.exit_code == 0, opened.output
    assert "320 x 240 pixels" in opened.output


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["genicam:Acme-1"], "no such camera answers"),
        (["/dev/video99"], "No such file or directory"),
        (["http://127.0.0.1:9/"], "check power, cable and address"),
        (["parts", "--picture", "a.jpg"], "written as PNG"),
        (["parts", "--picture", "a.png", "--roi", "0,0,4000,16"], "not inside the frame of 320 x 240"),
        (["parts", "--picture", "a.png", "--roi", "0,0,16"], "write X,Y,WIDTH,HEIGHT"),
        (["parts", "--trigger", "software"], "trigger is of a source genicam"),
        (["genicam:a", "--trigger", "manual"], "'free', 'software' or 'line'"),
        (["genicam:a", "--set", "Gain"], "write NAME=VALUE"),
        (["parts", "--image-size", "big"], "name pixels"),
    ],
)
def test_what_cannot_be_is_said_with_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], words: str
) -> None:
    write_folder(tmp_path / "parts", 1)
    monkeypatch.chdir(tmp_path)
    ended = run(app, ["cameras", *arguments], env={"COLUMNS": "400"})
    assert ended.exit_code == 2
    assert words in " ".join(ended.output.split())
    assert not list(tmp_path.glob("a.*"))


def test_an_address_is_not_taken_for_another_option() -> None:
    ended = run(app, ["cameras", "rtsp://eva:hun#ter2@127.0.0.1:9/a"], env={"COLUMNS": "400"})
    assert ended.exit_code == 2
    said = " ".join(ended.output.split())
    assert "Invalid value for source: user and password hold characters that must be encoded" in said
    assert "write `%23` for `#`" in said
    assert "ter2" not in said


def test_a_password_is_not_shown() -> None:
    ended = run(app, ["cameras", "rtsp://eva:hunter2@127.0.0.1:9/a"])
    assert ended.exit_code == 2
    assert "hunter2" not in ended.output


def test_the_drawing_shows_region_tiles_and_smallest_defect() -> None:
    frame = np.full((400, 600, 3), 200, np.uint8)
    picture = camera_picture(frame, Roi(x=100, y=50, width=400, height=300), Tiling(2, 2), 10)
    assert picture.shape == frame.shape
    assert picture[10, 10].tolist() == [90, 90, 90], "darker outside"
    assert picture[100, 150].tolist() == [200, 200, 200], "as it is inside"
    assert picture[205, 295].tolist() == [0, 0, 0]
    assert picture[205, 305].tolist() == [255, 255, 255]
    assert picture[199:211, 290:310].sum() < picture[199:211, 310:330].sum()
    assert (frame == 200).all(), "the frame itself stays"
    Image.fromarray(picture)
