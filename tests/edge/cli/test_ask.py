"""Where commands find their configuration and their line, and what `status` ends with."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from edge import __version__
from edge.cli.app import app
from edge.ops.lock import hold_console
from edge.settings_file import CONFIG_VARIABLE
from tests.edge.cli.test_terminal import config as two_lines


def typed(*words: str, **variables: str) -> Result:
    return CliRunner().invoke(app, [*words], env={"COLUMNS": "200"} | variables)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """Of one line."""
    path = two_lines(tmp_path)
    path.write_text(path.read_text().partition("[lines.two]")[0])
    return path


def test_the_environment_names_the_configuration_and_its_only_line_is_meant(config: Path) -> None:
    said = typed("history", **{CONFIG_VARIABLE: str(config)})
    assert said.exit_code == 0, said.output
    assert "no such verdicts of line one" in said.stdout
    assert typed("config", "check", **{CONFIG_VARIABLE: str(config)}).exit_code == 0


def test_the_command_line_wins_over_the_environment(config: Path, tmp_path: Path) -> None:
    said = typed("config", "check", "--config", str(config), **{CONFIG_VARIABLE: str(tmp_path / "none.toml")})
    assert said.exit_code == 0, said.output


def test_where_nothing_names_one_it_is_the_systems(monkeypatch: pytest.MonkeyPatch, config: Path) -> None:
    for module in ("edge.cli.ask", "edge.settings_file"):
        monkeypatch.setattr(f"{module}.DEFAULT_CONFIG", config)
    assert "no such verdicts of line one" in typed("history").stdout
    config.unlink()
    absent = typed("history")
    assert absent.exit_code == 2
    assert f"{config}: no such file; name one with --config or ${CONFIG_VARIABLE}" in absent.stderr
    assert typed("doctor", "--json").exit_code == 0, "a machine without a configuration is looked at all the same"


def test_of_several_lines_one_has_to_be_named(tmp_path: Path) -> None:
    path = two_lines(tmp_path)
    for command in (["history"], ["pause"], ["trigger", "A-17"], ["threshold", "0.5"]):
        said = typed(*command, "-c", str(path))
        assert said.exit_code == 2
        assert "there are several lines, so name one: one, two" in said.stderr
    assert typed("history", "--line", "two", "-c", str(path)).exit_code == 0


def test_a_status_without_a_service_ends_with_1_and_says_what_it_knows(config: Path) -> None:
    for options in ((), ("--json",)):
        said = typed("status", "-c", str(config), *options)
        assert said.exit_code == 1, said.output
        assert "no service is running" in said.stdout


def test_a_status_ends_with_3_when_a_line_is_in_fault(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = typed("status", "-c", str(config), "--json").stdout
    at_rest = json.loads(said[said.index("{") :])

    def answer(*_: object) -> dict[str, object]:
        health = {"level": level, "reason": "it is gone", "remedy": "plug it in"}
        changed = {"level": level, "components": {"camera": health}}
        return {"lines": {name: line | changed for name, line in at_rest["lines"].items()}}

    monkeypatch.setattr("edge.cli.console.ask_service", answer)
    with hold_console(config.parent):
        for level, code in (("ok", 0), ("warning", 0), ("fault", 3)):
            assert typed("status", "-c", str(config)).exit_code == code, level


def test_the_version_is_an_option_too() -> None:
    assert typed("--version").stdout == typed("version").stdout == f"{__version__}\n"


@pytest.mark.parametrize(
    ("words", "proposed"),
    [
        ("history --line ", ["one", "two"]),
        ("history --line t", ["two"]),
        ("history --config none.toml --line ", []),
        ("recipe set --pack tra", ["transistor"]),
        ("recipe set tra", []),  # no service tells them
        ("packs show zip", ["zipper"]),
        ("score --pack magn", ["magnetic_tile"]),
        ("bench --model ", ["ViT-B-16", "bundled"]),
        ("bench --model ViT-B-16 --weights ", ["openai"]),
        ("model verify ", ["ViT-B-16"]),
        ("model remove ViT-B-16 o", ["openai"]),
    ],
)
def test_the_shell_completes_names(tmp_path: Path, words: str, proposed: list[str]) -> None:
    (tmp_path / "models" / "ViT-B-16").mkdir(parents=True)
    (tmp_path / "models" / "ViT-B-16" / "openai.pt").touch()
    variables = {
        "_ALFA_EDGE_COMPLETE": "complete_bash",
        "COMP_WORDS": f"alfa-edge {words}",
        "COMP_CWORD": str(len(words.split(" "))),
        CONFIG_VARIABLE: str(two_lines(tmp_path)),
        "ALFA_EDGE_MODELS": str(tmp_path / "models"),
    }
    said = CliRunner().invoke(app, [], env=variables, prog_name="alfa-edge")
    assert said.output.split() == proposed
