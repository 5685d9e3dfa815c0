"""`alfa-edge filo train` as people run it: a head, its card, an evaluation with it, going on, bad input."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from core.evaluate.result import Evaluation
from core.filo.head import load_head
from edge.cli.app import app
from tests.support.parts import write_dataset

runner = CliRunner()
QUICK = ["--model", "untrained", "--epochs", "1", "--adapter-epochs", "1", "--batch", "2", "--prompts", "1"]
SMALL = ["--bottleneck", "4", "--kernels", "11,33", "--scale", "10"]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dataset(tmp_path_factory.mktemp("data"), ("bottle", "tile"), train=1, good=1, bad=1)


def test_a_head_is_trained_measured_and_gone_on_with(dataset: Path, tmp_path: Path) -> None:
    command = ["filo", "train", str(dataset), "--out", str(tmp_path), *QUICK, *SMALL]
    result = runner.invoke(app, command)
    assert result.exit_code == 0, result.output
    head = load_head(tmp_path / "filo.safetensors")
    assert (head.record.bottleneck, head.record.kernels, head.record.scale) == (4, ("11", "33"), 10.0)
    assert head.record.notes["classes"] == ["bottle"]
    assert head.record.notes["held_out"] == ["tile"]
    card = (tmp_path / "CARD.md").read_text("utf-8")
    assert "| held-out classes (1) | 2 |" in card
    assert "seed 0" in card
    again = runner.invoke(app, command)
    assert again.exit_code == 0, again.output
    assert load_head(tmp_path / "filo.safetensors").fingerprint == head.fingerprint
    other = runner.invoke(app, [*command, "--seed", "1"])
    assert other.exit_code == 2
    assert "a training with other" in other.stderr

    evaluation = tmp_path / "result.json"
    options = ["--method", "filo", "--checkpoint", str(tmp_path / "filo.safetensors"), "--model", "untrained"]
    files = ["--json", str(evaluation), "--cache", str(tmp_path / "cache"), "--classes", "tile", "--ablate"]
    result = runner.invoke(app, ["evaluate", str(dataset), *options, *files])
    assert result.exit_code == 0, result.output
    found = Evaluation.model_validate_json(evaluation.read_text("utf-8"))
    assert found.variants() == ("filo", "alfa", "winclip")
    assert found.head == head.fingerprint


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        (["--dtype", "fp16"], "fp32 or bf16"),
        (["--rate", "0"], "learning rate"),
        (["--mosaics", "2"], "a share"),
        (["--kernels", "99"], "99"),
        (["--scale", "0"], "scale"),
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
        (["--method", "filo", "--shots", "1", "--few-shot", "alfa"], "evidence alone"),
    ],
)
def test_an_evaluation_that_cannot_be_is_named(dataset: Path, extra: list[str], message: str) -> None:
    result = runner.invoke(app, ["evaluate", str(dataset), *extra])
    assert result.exit_code == 2, result.output
    assert message in result.stderr
