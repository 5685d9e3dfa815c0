"""What people type, and what they get: exit codes, messages, files."""

import json
from pathlib import Path

import jsonschema
import pytest
from PIL import Image
from typer.testing import CliRunner

from core.simline import render
from edge.cli.app import app
from edge.messages import json_schemas
from edge.settings import Settings
from edge.tools.score import find_pictures

runner = CliRunner()


@pytest.fixture
def parts(tmp_path: Path) -> Path:
    """A folder with a picture, one in a subfolder, and one that is torn."""
    folder = tmp_path / "parts"
    (folder / "deep").mkdir(parents=True)
    Image.fromarray(render("tile", 1, 0, 0.0, size=480).image).save(folder / "a.png")
    Image.fromarray(render("tile", 1, 1, 1.0, size=480).image[:300, :420]).save(folder / "deep" / "b.jpg")
    (folder / "torn.png").write_bytes((folder / "a.png").read_bytes()[:500])
    return folder


def test_score_says_what_it_sees_and_goes_on_after_a_torn_picture(parts: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = runner.invoke(
        app, ["score", str(parts), "--pack", "magnetic_tile", "--heatmaps", str(out), "--threshold", "0", "--json"]
    )
    assert result.exit_code == 1, result.output
    report = json.loads(result.stdout)
    by_name = {Path(one["path"]).name: one for one in report["pictures"]}
    assert by_name["torn.png"]["verdict"] == "error"
    assert "torn.png" in by_name["torn.png"]["error"]
    assert by_name["a.png"]["verdict"] == by_name["b.jpg"]["verdict"] == "anomaly"
    assert report["model"]["name"].startswith("bundled")
    assert report["recipe"]["pack"] == "magnetic_tile"
    assert (report["provisional"], report["recipe"]["threshold_source"]) == (False, "option")
    with Image.open(by_name["b.jpg"]["heatmap"]) as heatmap, Image.open(by_name["b.jpg"]["overlay"]) as overlay:
        assert heatmap.size == (420, 300)
        assert overlay.width == 420
        assert overlay.height > 300, "the picture, and a caption below"
        assert heatmap.mode == "L"
    assert Path(by_name["b.jpg"]["heatmap"]).parent == out / "parts" / "deep"


def test_score_prints_a_table_and_exits_0_when_all_could_be_read(parts: Path) -> None:
    (parts / "torn.png").unlink()
    result = runner.invoke(app, ["score", str(parts / "a.png"), str(parts / "deep"), "--pack", "generic"])
    assert result.exit_code == 0, result.output
    assert "a.png" in result.output
    assert "b.jpg" in result.output
    assert "model bundled" in result.output
    assert "not calibrated: at the default threshold 0.5 the verdicts are provisional" in result.output


def test_score_at_a_threshold_that_was_chosen_is_not_provisional(parts: Path) -> None:
    at_default = ["score", str(parts / "a.png"), "--pack", "generic"]
    chosen = runner.invoke(app, [*at_default, "--threshold", "0.5"])  # though it is the default's value
    assert chosen.exit_code == 0, chosen.output
    assert "provisional" not in chosen.output
    report = json.loads(runner.invoke(app, [*at_default, "--json"]).stdout)
    assert (report["provisional"], report["recipe"]["threshold_source"]) == (True, "uncalibrated")
    assert report["pictures"][0]["threshold"] == 0.5


def test_pictures_of_one_name_keep_heatmaps_of_their_own(parts: Path) -> None:
    Image.open(parts / "a.png").save(parts / "a.bmp")
    (parts / "torn.png").unlink()
    out = parts / "out"
    before = find_pictures([parts])
    result = runner.invoke(app, ["score", str(parts), str(parts), "--pack", "generic", "--heatmaps", str(out)])
    assert result.exit_code == 0, result.output
    assert len(list(out.rglob("*.heatmap.png"))) == 6
    assert find_pictures([parts]) == before, "what was written is not scored the next time"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--pack", "botle"], "bottle"),
        (["--pack", "bottle", "--device", "cuda:99"], "cuda:99"),
        (["--pack", "bottle", "--weights", "/nowhere/w.pt"], "/nowhere/w.pt"),
        (["--pack", "bottle", "--model", "ViT-B-16", "--weights", "openai"], "model pull ViT-B-16 openai"),
        (["--pack", "bottle", "--model", "ViT-B-17", "--weights", "openai"], "ViT-B-16"),
        (["--pack", "bottle", "--dtype", "int4"], "int4"),
        (["--pack", "/nowhere/pack.toml"], "/nowhere/pack.toml"),
    ],
)
def test_what_cannot_be_had_ends_with_code_2_and_a_remedy(parts: Path, options: list[str], message: str) -> None:
    result = runner.invoke(app, ["score", str(parts / "a.png"), *options])
    assert result.exit_code == 2
    assert message in result.stderr
    assert result.stderr.startswith("alfa-edge: ")
    assert "Traceback" not in result.stderr


def test_a_path_that_is_not_there_and_an_empty_folder_are_named(tmp_path: Path) -> None:
    for path in (tmp_path / "none.png", tmp_path):
        result = runner.invoke(app, ["score", str(path), "--pack", "generic"])
        assert result.exit_code == 2
        assert str(path) in result.stderr


def test_config_commands(tmp_path: Path) -> None:
    config = tmp_path / "edge.toml"
    config.write_text(runner.invoke(app, ["config", "example"]).stdout)
    result = runner.invoke(app, ["config", "check", "--config", str(config)])
    assert result.exit_code == 2  # the example is for a GPU and the paper's weights, which are not here
    assert "device 'cuda'" in result.stderr or "model pull" in result.stderr
    config.write_text('[model]\nname = "untrained"\ndevice = "cpu"\n[lines.a.camera]\nsource = "rtsp://u:pw@h/1"\n')
    assert runner.invoke(app, ["config", "check", "-c", str(config)]).exit_code == 0
    shown = runner.invoke(app, ["config", "show", "-c", str(config)])
    assert json.loads(shown.stdout)["lines"]["a"]["camera"]["source"] == "rtsp://h"
    schema = json.loads(runner.invoke(app, ["config", "schema"]).stdout)
    jsonschema.validate({"lines": {"a": {"camera": {"source": "x"}}}}, schema)
    assert schema == json.loads(json.dumps(Settings.model_json_schema()))
    acl = ["config", "acl", "-c", str(config)]
    assert "mqtt: username: set it" in runner.invoke(app, acl).stderr
    printed = runner.invoke(app, acl, env={"ALFA_EDGE_MQTT__USERNAME": "hall-1"}).stdout.splitlines()
    assert printed[0] == "user hall-1"
    assert "topic read line/a/trigger" in printed
    config.write_text(config.read_text() + "pack = 'x'\n[mqtt]\nprot = 1\n")
    wrong = runner.invoke(app, ["config", "check", "-c", str(config)])
    assert wrong.exit_code == 2
    assert "did you mean port?" in wrong.stderr


@pytest.mark.parametrize("config", ["run", "doctor"])
def test_a_missing_configuration_is_named(config: str, tmp_path: Path) -> None:
    result = runner.invoke(app, [config, "--config", str(tmp_path / "none.toml")])
    assert result.exit_code == 2
    assert "none.toml" in result.stderr


def test_schemas_are_printed() -> None:
    for name, expected in json_schemas().items():
        assert json.loads(runner.invoke(app, ["schema", name]).stdout) == expected
    assert runner.invoke(app, ["schema", "verdikt"]).exit_code == 2


def test_doctor_without_a_configuration_is_content_with_a_machine_without_a_gpu() -> None:
    result = runner.invoke(app, ["doctor", "--json"])
    assert result.exit_code == 0
    assert {"python", "cpu", "FFMPEG", "V4L2", "packs"} <= {check["name"] for check in json.loads(result.stdout)}


def test_doctor_says_what_keeps_the_service_from_running(tmp_path: Path) -> None:
    config = tmp_path / "edge.toml"
    config.write_text(
        '[model]\nname = "untrained"\ndevice = "cpu"\n[mqtt]\nhost = "127.0.0.1"\nport = 9\n'
        '[lines.a]\npack = "botle"\n[lines.a.camera]\nsource = "/dev/video99"\n'
    )
    result = runner.invoke(app, ["doctor", "-c", str(config), "--json"])
    assert result.exit_code == 1
    failed = {check["name"] for check in json.loads(result.stdout) if check["result"] == "fail"}
    assert failed == {"line a: pack", "line a: camera", "broker"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--source", "/nothere"], "/nothere: no such file or folder; check the path"),
        (["--source", "sim:bottel"], "sim:bottel: no such class; known are"),
        (["--source", "ftp://host/1"], "ftp:// is not supported"),
        (["--broker", "127.0.0.1:9"], "broker 127.0.0.1:9 cannot be reached: Connection refused; check the address"),
        (["--broker", "host:one"], "'host:one': write HOST or HOST:PORT"),
    ],
)
def test_a_demo_without_its_source_or_broker_ends_in_one_line(options: list[str], message: str) -> None:
    result = runner.invoke(app, ["demo", *options, "--seconds", "5"], env={"COLUMNS": "200"})
    assert result.exit_code == 2, result.output
    assert message in result.stderr
    assert "Traceback" not in result.output


def test_a_simulated_class_that_there_is_not_is_found_before_the_service_starts(tmp_path: Path) -> None:
    config = tmp_path / "edge.toml"
    config.write_text('[model]\nname = "untrained"\ndevice = "cpu"\n[lines.a.camera]\nsource = "sim:bottel"\n')
    result = runner.invoke(app, ["config", "check", "-c", str(config)])
    assert result.exit_code == 2
    assert f"{config}: lines.a.camera.source: sim:bottel: no such class; known are bearing, bottle," in result.stderr
