import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from edge.cli.app import app
from edge.tools.bench import STAGES
from tests.support.filo_heads import random_head

runner = CliRunner()


def test_every_stage_is_timed() -> None:
    result = runner.invoke(app, ["bench", "--rounds", "3", "--batch", "2", "--dtype", "fp32", "--json"])
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert set(report["stages"]) == {*STAGES, "total"}
    for stage in report["stages"].values():
        assert 0 <= stage["p50"] <= stage["p95"] <= stage["p99"]
    assert report["images_per_s"] > 0
    assert report["peak_host_mib"] > 100
    assert report["model"]["scales"] == [2, 3]


@pytest.mark.parametrize("windows", ["masked", "none"])
def test_windows_in_another_way_are_timed(windows: str) -> None:
    result = runner.invoke(app, ["bench", "--rounds", "1", "--dtype", "fp32", "--windows", windows, "--json"])
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert set(report["stages"]) == {*STAGES, "total"}
    assert report["model"]["windows"] == windows


def test_filo_is_timed_as_a_whole(tmp_path: Path) -> None:
    head = ["--method", "filo", "--checkpoint", str(random_head(tmp_path))]
    result = runner.invoke(app, ["bench", "--rounds", "1", "--dtype", "fp32", "--json", *head])
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert set(report["stages"]) == {"total"}
    assert (report["model"]["method"], report["model"]["windows"]) == ("filo", "none")
    assert runner.invoke(app, ["bench", "--method", "filo"]).exit_code == 2
    assert runner.invoke(app, ["bench", "--method", "winclip"]).exit_code == 2


def test_a_table_for_people_and_a_clear_refusal() -> None:
    result = runner.invoke(app, ["bench", "--rounds", "1", "--scales", "2"])
    assert result.exit_code == 0
    assert "images/s" in result.output
    assert runner.invoke(app, ["bench", "--scales", "two"]).exit_code == 2
    assert runner.invoke(app, ["bench", "--windows", "some"]).exit_code == 2
    assert runner.invoke(app, ["bench", "--device", "cuda:99"]).exit_code == 2
