from pathlib import Path

from typer.testing import CliRunner

from edge.cli.app import app

runner = CliRunner()


def test_simulate_writes_what_was_asked_for(tmp_path: Path) -> None:
    options = ["--classes", "glass", "--train", "1", "--count", "2", "--defective", "1", "--size", "64"]
    result = runner.invoke(app, ["simulate", "--out", str(tmp_path / "set"), *options])
    assert result.exit_code == 0, result.output
    assert "9 pictures of 1 class in" in result.stdout
    assert len(list((tmp_path / "set" / "glass" / "test" / "good").iterdir())) == 2
    again = runner.invoke(app, ["simulate", "--out", str(tmp_path / "set"), *options])
    assert again.exit_code == 2
    assert "is there already" in " ".join(again.output.replace("│", " ").split())


def test_simulate_names_the_classes_it_knows(tmp_path: Path) -> None:
    result = runner.invoke(app, ["simulate", "--out", str(tmp_path), "--classes", "tyle"])
    assert result.exit_code == 2
    assert "did you mean 'tile'" in result.output
