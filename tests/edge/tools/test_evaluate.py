"""`alfa-edge evaluate` as people run it: files, resuming after a kill, bad input."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image, ImageOps
from typer.testing import CliRunner

from core.evaluate.result import Evaluation
from edge.cli.app import app
from tests.support.parts import write_dataset

runner = CliRunner()


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dataset(tmp_path_factory.mktemp("data"), ("bottle", "tile"))


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One for all: whose subject is not the cache need not encode the same pictures again."""
    return tmp_path_factory.mktemp("cache")


def options(dataset: Path, cache: Path) -> list[str]:
    return ["evaluate", str(dataset), "--shots", "0,1,2", "--seeds", "2", "--cache", str(cache), "--resume"]


def test_json_csv_and_report(dataset: Path, cache: Path, tmp_path: Path) -> None:
    files = {kind: tmp_path / f"result.{kind}" for kind in ("json", "csv", "html")}
    wanted = ["--json", str(files["json"]), "--csv", str(files["csv"]), "--report", str(files["html"]), "--ablate"]
    result = runner.invoke(app, [*options(dataset, cache), *wanted])
    assert result.exit_code == 0, result.output
    assert "bundled" in result.output
    found = Evaluation.model_validate_json(files["json"].read_text("utf-8"))
    assert [one.name for one in found.classes] == ["bottle", "tile"]
    assert [one.pack for one in found.classes] == ["bottle", "tile"]
    assert {"alfa", "no llm prompts", "winclip", "clip only", "tower only"} <= set(found.variants())
    assert not {"no aligner", "no contextual scoring"} & set(found.variants()), "the bundled model has neither"
    assert (found.few_shot, found.tower) == ("evidence", "efficientnet-lite0")
    assert found.interval("alfa", 2, "auroc") is not None
    assert "escapes" in result.output
    with files["csv"].open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == sum(len(one.runs) for one in found.classes)
    assert "<html" in files["html"].read_text("utf-8")[:200]
    against = runner.invoke(app, [*options(dataset, cache), "--against", str(files["json"])])
    assert against.exit_code == 0, against.output


@pytest.mark.parametrize("windows", ["masked", "none"])
def test_windows_in_another_way(dataset: Path, cache: Path, tmp_path: Path, windows: str) -> None:
    file, report = tmp_path / "result.json", tmp_path / "result.html"
    arguments = ["evaluate", str(dataset), "--classes", "tile", "--shots", "1", "--seeds", "1", "--windows", windows]
    wanted = ["--cache", str(cache), "--resume", "--json", str(file), "--report", str(report)]
    result = runner.invoke(app, [*arguments, *wanted])
    assert result.exit_code == 0, result.output
    found = Evaluation.model_validate_json(file.read_text("utf-8"))
    assert found.windows == windows
    contour = found.classes[0].runs[0].pixel_threshold
    assert contour is not None
    assert f"contour at {contour:.4f}" in report.read_text("utf-8")


def test_killed_half_way_and_resumed_it_finds_the_same(dataset: Path, tmp_path: Path) -> None:
    whole = tmp_path / "whole.json"
    one_class = ["--classes", "tile", "--shots", "0,1", "--seeds", "1"]  # the last word counts
    without = [option for option in options(dataset, tmp_path / "cache") if option != "--resume"]
    assert runner.invoke(app, [*without, *one_class, "--json", str(whole)]).exit_code == 0
    cut = tmp_path / "cut.json"
    other = [*options(dataset, tmp_path / "other"), *one_class, "--json", str(cut)]
    process = subprocess.Popen([sys.executable, "-m", "edge.cli", *other], stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while len(list((tmp_path / "other").rglob("*.safetensors"))) < 8 and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not cut.exists()
    resumed = runner.invoke(app, other)
    assert resumed.exit_code == 0, resumed.output
    assert cut.read_bytes() == whole.read_bytes()


@pytest.mark.parametrize(
    ("extra", "names"),
    [
        (["--few-shot", "alfa"], ["alfa"]),
        (["--shots", "0,1", "--tower", "none"], ["alfa", "alfa tower=none"]),
        (["--shots", "0", "--scorer", "mutual"], ["mutual"]),
        (["--shots", "1", "--scorer", "nearest", "--within", "2"], ["nearest within=2"]),
    ],
)
def test_rows_are_named_by_what_was_asked_for(
    dataset: Path, cache: Path, tmp_path: Path, extra: list[str], names: list[str]
) -> None:
    file = tmp_path / "result.json"
    arguments = [*options(dataset, cache), "--classes", "tile", "--json", str(file)]
    wanted = ["--report", str(tmp_path / "result.html"), *extra]
    result = runner.invoke(app, [*arguments, *wanted])
    assert result.exit_code == 0, result.output
    assert list(Evaluation.model_validate_json(file.read_text("utf-8")).variants()) == names


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        (["--classes", "botle"], "bottle"),
        (["--pack", "nonesuch"], "nonesuch"),
        (["--method", "magic"], "alfa, winclip"),
        (["--windows", "some"], "exact, strided"),
        (["--windows", "none"], "1 or more"),
        (["--shots", "some"], "'some': write numbers"),
        (["--json", "/nowhere/x.json"], "/nowhere/x.json"),
        (["--against", "/nowhere/x.json"], "/nowhere/x.json"),
        (["--device", "cuda:99"], "cuda:99"),
        (["--tower", "nonesuch"], "nonesuch"),
        (["--few-shot", "magic"], "evidence or alfa"),
        (["--scorer", "magic"], "nearest, subspace"),
        (["--scorer", "nearest", "--within", "-1"], "--within"),
        (["--within", "1"], "not for evidence"),
        (["--scorer", "mutual"], "no shots"),
        (["--scorer", "nearest", "--tower", "none"], "needs a tower"),
        (["--augment", "zoom"], "zoom"),
        (["--few-shot", "alfa", "--augment", "flips"], "--few-shot"),
    ],
)
def test_bad_input_is_named(dataset: Path, cache: Path, extra: list[str], message: str) -> None:
    result = runner.invoke(app, [*options(dataset, cache), *extra])
    assert result.exit_code == 2
    assert message in result.stderr
    assert "Traceback" not in result.stderr


def test_a_folder_that_is_no_data_set_is_named(tmp_path: Path) -> None:
    result = runner.invoke(app, ["evaluate", str(tmp_path)])
    assert result.exit_code == 2
    assert str(tmp_path) in result.stderr


def test_parts_as_people_have_them(dataset: Path, tmp_path: Path) -> None:
    """Plain folders, a name that is no UTF-8, masks the other way round: all files say what was made of them."""
    parts = tmp_path / "parts"
    tile = dataset / "tile"
    for place, picture in enumerate(sorted((tile / "test/good").iterdir())):
        (parts / "good").mkdir(parents=True, exist_ok=True)
        shutil.copy(picture, parts / "good" / os.fsdecode(f"{place}\xe9.png".encode("latin-1")))
    (parts / "NG").mkdir()
    for mask in (tile / "ground_truth/defect").iterdir():
        stem = mask.stem.removesuffix("_mask")
        shutil.copy(tile / f"test/defect/{stem}.png", parts / "NG")
        ImageOps.invert(Image.open(mask)).save(parts / f"NG/{stem}_label.png")
    files = {kind: tmp_path / f"result.{kind}" for kind in ("json", "csv", "html")}
    arguments = ["evaluate", str(parts), "--shots", "0,1", "--seeds", "1", "--cache", str(tmp_path / "cache")]
    wanted = ["--json", str(files["json"]), "--csv", str(files["csv"]), "--report", str(files["html"])]
    result = runner.invoke(app, [*arguments, *wanted])
    assert result.exit_code == 0, result.output
    assert "read as inverted" in result.output
    assert "Held out of the test" in result.output
    assert "1 class of parts, pack generic, model" in result.output
    evaluation = Evaluation.model_validate_json(files["json"].read_bytes())
    (found,) = evaluation.classes
    promises = [run.operation.promised for run in found.runs if run.operation is not None]
    assert f"{100 * max(promises):.1f}" in result.output.partition("promised")[2]
    assert any(picture.path.endswith(r"\udce9.png") for picture in found.pictures)
    assert max(picture.area or 0 for picture in found.pictures) < 0.5
    assert r"\udce9.png" in files["html"].read_text("utf-8")


def test_nothing_to_measure_is_no_success(dataset: Path, tmp_path: Path) -> None:
    """One label only is refused before anything is scored; where only what is broken has the other one, after it."""
    parts = tmp_path / "parts"
    shutil.copytree(dataset / "tile/test/good", parts / "good")
    (parts / "bad").mkdir()
    arguments = ["evaluate", str(parts), "--cache", str(tmp_path / "cache")]
    result = runner.invoke(app, arguments)
    assert result.exit_code == 2
    assert "good and defective test pictures are needed" in result.stderr
    (parts / "bad/0.png").write_bytes(b"no picture")
    result = runner.invoke(app, arguments)
    assert result.exit_code == 1
    assert "nothing could be measured" in result.output


def test_the_json_says_nothing_of_time_or_machine(dataset: Path, cache: Path, tmp_path: Path) -> None:
    file = tmp_path / "result.json"
    arguments = ["evaluate", str(dataset), "--classes", "tile", "--cache", str(cache), "--json", str(file)]
    assert runner.invoke(app, arguments).exit_code == 0
    assert not {"date", "time", "machine", "node"} & set(json.loads(file.read_text("utf-8")))
