"""`alfa-edge filo train` as people run it: a head, its card, an evaluation with it, going on, bad input."""

from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from core.backbone import load_backbone
from core.evaluate.result import Evaluation
from core.filo.head import load_head
from core.filo.training.recipe import Recipe
from edge.cli.app import app
from edge.tools.filo_train import Choice, Training
from tests.support.parts import write_dataset

runner = CliRunner()
QUICK = ["--model", "untrained", "--epochs", "1", "--adapter-epochs", "1", "--batch", "2", "--prompts", "1"]
SMALL = ["--layers", "6", "--start", "5", "--bottleneck", "4", "--kernels", "11,33", "--scale", "10"]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dataset(tmp_path_factory.mktemp("data"), ("bottle", "tile"), train=1, good=1, bad=1)


@pytest.fixture(scope="module")
def trained(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a head."""
    folder = tmp_path_factory.mktemp("head")
    result = runner.invoke(app, command(dataset, folder))
    assert result.exit_code == 0, result.output
    return folder


def command(dataset: Path, folder: Path) -> list[str]:
    return ["filo", "train", str(dataset), "--out", str(folder), "--held-out", "none", *QUICK, *SMALL]


def test_a_head_is_trained_and_gone_on_with(dataset: Path, trained: Path) -> None:
    head = load_head(trained / "filo.safetensors")
    assert (head.record.layers, head.record.start, head.record.bottleneck) == ((6,), 5, 4)
    assert (head.record.kernels, head.record.scale) == (("11", "33"), 10.0)
    assert head.record.notes["classes"] == ["bottle", "tile"]
    card = (trained / "CARD.md").read_text("utf-8")
    assert "4 pictures, 2 with defects, of 2 classes" in card
    assert "No class was held out" in card
    again = runner.invoke(app, command(dataset, trained))
    assert again.exit_code == 0, again.output
    assert load_head(trained / "filo.safetensors").fingerprint == head.fingerprint
    other = runner.invoke(app, [*command(dataset, trained), "--seed", "1"])
    assert other.exit_code == 2
    assert "a training with other" in other.stderr


def test_a_head_is_evaluated(dataset: Path, trained: Path, tmp_path: Path) -> None:
    evaluation, head = tmp_path / "result.json", trained / "filo.safetensors"
    options = ["--method", "filo", "--checkpoint", str(head), "--model", "untrained", "--classes", "tile"]
    result = runner.invoke(app, ["evaluate", str(dataset), *options, "--json", str(evaluation)])
    assert result.exit_code == 0, result.output
    found = Evaluation.model_validate_json(evaluation.read_text("utf-8"))
    assert found.variants() == ("filo",)
    assert found.head == load_head(head).fingerprint
    assert "tile: The head was trained on a class of this name." in result.output


def test_a_class_without_a_pack_is_named(tmp_path: Path) -> None:
    """Its words are what the head learns, and `evaluate --pack` may ask in others."""
    data = write_dataset(tmp_path, ("bottle",), train=1, good=1, bad=1)
    (data / "bottle").rename(data / "mine")
    choice = Choice((str(data),), tmp_path / "head", (), Recipe(), pictures=2, cache_bytes=0, record={})
    training = Training(load_backbone("untrained", None, "cpu", "fp32"), choice, Console())
    assert "mine: no pack of this name; the pack generic describes it" in training.notes


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        (["--dtype", "fp16"], "fp32 or bf16"),
        (["--rate", "0"], "learning rate"),
        (["--mosaics", "2"], "a share"),
        (["--kernels", "99"], "99"),
        (["--scale", "0"], "scale"),
        (["--layers", "six,7"], "layers"),
        (["--layers", "6"], "layers"),
        (["--layers", "5,7"], "layers"),
        (["--start", "6"], "start"),
        (["--held-out", "nonesuch"], "no such class"),
        (["--held-out", "bottle,tile"], "none is left to train on"),
        (["--device", "cuda:99"], "cuda:99"),
    ],
)
def test_bad_input_is_named(dataset: Path, tmp_path: Path, extra: list[str], message: str) -> None:
    result = runner.invoke(app, ["filo", "train", str(dataset), "--out", str(tmp_path), *QUICK, *extra])
    assert result.exit_code == 2, result.output
    assert message in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        (["--checkpoint", "x"], "--method filo"),
        (["--method", "filo", "--checkpoint", "nonesuch"], "nonesuch"),
        (["--method", "filo", "--model", "untrained"], "filo train"),
        (["--method", "filo", "--checkpoint", "x", "--tiles", "2x2"], "whole pictures"),
        (["--method", "filo", "--checkpoint", "x", "--shots", "1", "--few-shot", "alfa"], "evidence alone"),
        (["--method", "filo", "--checkpoint", "x", "--scorer", "mutual"], "evidence alone"),
        (["--method", "filo", "--checkpoint", "x", "--shots", "1", "--scorer", "nearest"], "evidence alone"),
    ],
)
def test_an_evaluation_that_cannot_be_is_named(dataset: Path, extra: list[str], message: str) -> None:
    result = runner.invoke(app, ["evaluate", str(dataset), *extra])
    assert result.exit_code == 2, result.output
    assert message in result.stderr
