"""What can be set, typed or subscribed to is in the README."""

from pathlib import Path
from typing import Any

import pytest
import typer

from edge.cli.app import app
from edge.tools.tables import with_tables

README = Path(__file__).parents[1] / "README.md"


def test_the_readmes_tables_are_those_of_the_code() -> None:
    text = README.read_text("utf-8")
    assert with_tables(text) == text, "bring them up to date: .venv/bin/python -m edge.tools.tables README.md"


def commands() -> list[tuple[str, Any]]:
    def walk(command: Any, path: str) -> list[tuple[str, Any]]:
        inside = getattr(command, "commands", None)
        if inside is None:
            return [(path, command)]
        return [found for name, one in inside.items() for found in walk(one, f"{path} {name}")]

    return walk(typer.main.get_command(app), "alfa-edge")


@pytest.mark.parametrize(("path", "command"), commands(), ids=lambda value: value if isinstance(value, str) else "")
def test_every_command_and_option_is_in_the_readme_and_has_help(path: str, command: Any) -> None:
    text = README.read_text("utf-8")
    assert f"`{path}" in text
    assert command.help
    for parameter in command.params:
        if parameter.param_type_name == "option" and parameter.name != "help":
            assert parameter.help, f"{path} {parameter.opts}"
            assert any(option in text for option in parameter.opts), f"{path} {parameter.opts}"
