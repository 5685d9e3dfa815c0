"""What can be set, typed or subscribed to is in the README."""

from pathlib import Path

import click
import pytest
import typer

from edge.cli import app
from edge.reference import with_tables

README = Path(__file__).parents[1] / "README.md"


def test_the_readmes_tables_are_those_of_the_code() -> None:
    text = README.read_text("utf-8")
    assert with_tables(text) == text, "bring them up to date: .venv/bin/python -m edge.reference README.md"


def commands() -> list[tuple[str, click.Command]]:
    def walk(group: click.Group, path: str) -> list[tuple[str, click.Command]]:
        found: list[tuple[str, click.Command]] = []
        for name, command in group.commands.items():
            if isinstance(command, click.Group):
                found += walk(command, f"{path} {name}")
            else:
                found.append((f"{path} {name}", command))
        return found

    group = typer.main.get_command(app)
    assert isinstance(group, click.Group)
    return walk(group, "alfa-edge")


@pytest.mark.parametrize(("path", "command"), commands(), ids=lambda value: value if isinstance(value, str) else "")
def test_every_command_and_option_is_in_the_readme_and_has_help(path: str, command: click.Command) -> None:
    text = README.read_text("utf-8")
    assert f"`{path}" in text
    assert command.help
    for parameter in command.params:
        if isinstance(parameter, click.Option) and parameter.name != "help":
            assert parameter.help, f"{path} {parameter.opts}"
            assert any(option in text for option in parameter.opts), f"{path} {parameter.opts}"
