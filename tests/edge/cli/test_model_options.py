"""What commands say and take of a model: input size, assumptions, and the models that there are."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

from edge.cli.app import app

runner = CliRunner(env={"COLUMNS": "200"})


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "a.png"
    Image.radial_gradient("L").resize((64, 48)).save(path)  # a picture of one colour is refused
    return path


def fingerprint(picture: Path, *options: str) -> str:
    words = ["score", str(picture), "--pack", "generic", "--model", "untrained", "--dtype", "fp32", "--json", *options]
    result = runner.invoke(app, words)
    assert result.exit_code == 0, result.output
    found: str = json.loads(result.stdout)["model"]["fingerprint"]
    return found


def test_another_input_size_is_another_model(picture: Path) -> None:
    assert fingerprint(picture, "--image-size", "240") == fingerprint(picture)
    assert fingerprint(picture, "--image-size", "64x80") != fingerprint(picture)


@pytest.mark.parametrize(
    ("size", "message"), [("large", "name pixels, as 336, or height and width"), ("250", "for instance 256 x 256")]
)
def test_an_input_size_that_cannot_be_is_refused(picture: Path, size: str, message: str) -> None:
    result = runner.invoke(app, ["score", str(picture), "--pack", "generic", "--image-size", size])
    assert result.exit_code == 2
    assert message in " ".join(result.output.replace("│", " ").split())


def test_the_models_that_can_be_used_are_listed() -> None:
    table = runner.invoke(app, ["model", "list", "--architectures"], env={"COLUMNS": "80"}).stdout
    assert "ViT-B-16-plus-240" in table
    words = table.split()
    names = {"ViT-H-14-378-quickgelu", "commonpool_xl_laion_s13b_b90k", "commonpool_l_image_s1b_b8k"}
    assert names <= set(words), "names to type are whole in 80 columns"
    assert max(map(len, table.splitlines())) <= 80
    assert "SigLIP" not in table
    assert "models: its image half is a model of timm" in table
    listed = json.loads(runner.invoke(app, ["model", "list", "--architectures", "--json"]).stdout)
    reasons = {one["name"]: one["reason"] for one in listed}
    assert reasons["ViT-B-16-plus-240"] is None
    assert reasons["RN50"] == "its image half is a ResNet"


def test_packs_are_compiled_for_the_model_as_it_is_configured(tmp_path: Path) -> None:
    config = tmp_path / "edge.toml"
    config.write_text(
        f"[model]\nname = 'untrained'\ndevice = 'cpu'\nstore = '{tmp_path}/models'\nimage_size = [64, 80]\n"
        "[lines.one.camera]\nsource = 'sim:bottle'\n"
    )
    result = runner.invoke(app, ["packs", "compile", "generic", "--config", str(config)])
    assert result.exit_code == 0, result.output
    plain = runner.invoke(app, ["packs", "compile", "generic", "--model", "untrained", "--store", f"{tmp_path}/models"])
    assert plain.exit_code == 0, plain.output
    assert len(list((tmp_path / "models" / "compiled").iterdir())) == 2, "one for each input size"
    both = runner.invoke(app, ["packs", "compile", "generic", "--config", str(config), "--model", "untrained"])
    assert both.exit_code == 2


@pytest.mark.parametrize("value", ["50", "nan", "1.01"])
@pytest.mark.parametrize("words", [["threshold"], ["score", "parts", "--pack", "bottle", "--threshold"]], ids=" ".join)
def test_a_threshold_that_is_none_is_refused_in_words(words: list[str], value: str, tmp_path: Path) -> None:
    config = tmp_path / "edge.toml"
    config.write_text('[lines.a.camera]\nsource = "sim:bottle"\n')
    result = CliRunner().invoke(app, [*words, value], env={"COLUMNS": "200", "ALFA_EDGE_CONFIG": str(config)})
    assert result.exit_code == 2
    assert f"{value}: a threshold is a number from 0 to 1" in result.stderr
