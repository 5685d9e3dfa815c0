"""`alfa-edge recipe`: what is typed, and what the service is asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from edge.cli import recipe
from edge.cli.app import app
from tests.support.at_rest import written_settings

MADE = {"before": None, "after": {"name": "B", "number": 2, "revision": 1}, "differences": {}}


def test_a_pack_file_is_named_from_the_folder_of_who_types(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The service has a working directory of its own."""
    asked: list[dict[str, Any]] = []

    def ask(_config: Path, _command: str, arguments: dict[str, Any], **_: Any) -> dict[str, Any]:
        asked.append(arguments)
        return MADE

    monkeypatch.setattr(recipe, "ask_service", ask)
    monkeypatch.chdir(tmp_path)
    common = ["recipe", "new", "B", "--line", "one", "-c", str(written_settings(tmp_path))]
    for given in (["--pack", "./own.toml"], ["pack=./own.toml"]):
        result = CliRunner().invoke(app, [*common, *given])
        assert result.exit_code == 0, result.output
    assert [arguments["settings"] for arguments in asked] == [{"pack": str(tmp_path / "own.toml")}] * 2


def test_a_region_of_what_only_looks_like_digits_is_refused(tmp_path: Path) -> None:
    common = ["recipe", "new", "B", "--line", "one", "-c", str(written_settings(tmp_path))]
    result = CliRunner().invoke(app, [*common, "--roi", "²,0,16,16"])
    assert (result.exit_code, "4 whole numbers" in result.output) == (2, True)


def test_a_name_that_the_command_line_would_take_for_an_option_is_refused_in_words(tmp_path: Path) -> None:
    common = ["--line", "one", "-c", str(written_settings(tmp_path))]
    result = CliRunner().invoke(app, ["recipe", "new", *common, "--", "-x"])
    said = " ".join(result.output.split())
    assert result.exit_code == 2
    assert "'-x' is no name of a recipe: " in said
    assert "its arguments" not in said


def test_a_renamed_recipe_is_said_by_the_name_that_it_had(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may have been named by its number."""
    renamed = {"before": MADE["after"], "after": {"name": "C", "number": 2, "revision": 1}, "differences": {}}
    monkeypatch.setattr(recipe, "ask_service", lambda *_, **__: renamed)
    result = CliRunner().invoke(
        app, ["recipe", "rename", "2", "C", "--line", "one", "-c", str(written_settings(tmp_path))]
    )
    assert "recipe C (2) of line one was B" in result.output
