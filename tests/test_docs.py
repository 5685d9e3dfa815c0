"""What can be set, typed, subscribed to or go wrong is in the README; the rooms of `edge` are in theirs."""

import ast
from pathlib import Path
from typing import Any

import pytest
import typer

from edge.cli.app import app
from edge.control.commands import COMMANDS
from edge.messages import json_schemas
from edge.ops.alarms import ALARMS
from edge.ops.metrics import METRICS
from edge.tools.tables import setting_names, with_tables
from edge.topics import TOPICS

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
EDGE_README = ROOT / "edge" / "README.md"
LONGEST_WAY = 20


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
    row = next((line for line in text.splitlines() if line.startswith((f"| `{path}`", f"| `{path} "))), "")
    assert row, f"the table of commands has no row {path}"
    assert command.help
    for parameter in command.params:
        if parameter.param_type_name == "option" and parameter.name != "help":
            assert parameter.help, f"{path} {parameter.opts}"
            assert any(option in row for option in parameter.opts), f"{path} {parameter.opts}"


def machine_commands() -> list[str]:
    return [name for name, command in COMMANDS.items() if command.machines]


@pytest.mark.parametrize(
    "names",
    [setting_names(), [topic.pattern for topic in TOPICS], list(METRICS), list(ALARMS), machine_commands()],
    ids=["settings", "topics", "metrics", "alarms", "commands of machines"],
)
def test_the_readme_has_every_name(names: list[str]) -> None:
    text = README.read_text("utf-8")
    assert names
    assert [name for name in names if f"`{name}`" not in text] == []


def test_every_message_has_a_schema_a_topic_and_a_row() -> None:
    files = {path.stem for path in (ROOT / "edge/schemas").glob("*.json")}
    assert files == set(json_schemas())
    text = README.read_text("utf-8")
    assert [name for name in files if f"`edge/schemas/{name}.json`" not in text] == []


def table(heading: str) -> list[list[str]]:
    """The cells of the table under a heading of `edge/README.md`, without its head."""
    _, found, section = EDGE_README.read_text("utf-8").partition(f"\n## {heading}\n")
    assert found, f"edge/README.md has no section {heading!r}"
    lines = [line for line in section.partition("\n## ")[0].splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def functions(path: Path) -> set[str]:
    """The functions of a module, those of classes as `Class.method`."""
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    found = set()
    for node in ast.parse(path.read_text("utf-8")).body:
        if isinstance(node, kinds):
            found.add(node.name)
        elif isinstance(node, ast.ClassDef):
            found |= {f"{node.name}.{method.name}" for method in node.body if isinstance(method, kinds)}
    return found


def test_the_way_of_a_part_is_short() -> None:
    assert 0 < len(table("The way of a part")) <= LONGEST_WAY


@pytest.mark.parametrize("row", table("The way of a part"), ids=lambda row: row[2].strip("`"))
def test_the_way_of_a_part_is_that_of_the_code(row: list[str]) -> None:
    meaning, file, function, thread = row
    assert meaning
    assert thread
    assert function.strip("`") in functions(ROOT / file.strip("`"))


def test_the_rooms_are_those_that_there_are() -> None:
    text = EDGE_README.read_text("utf-8").partition("\n## Rooms\n")[2].partition("\n## ")[0]
    files = [path.name for path in (ROOT / "edge").glob("*.py") if path.name != "__init__.py"]
    folders = [f"{path.parent.name}/" for path in (ROOT / "edge").glob("*/__init__.py")]
    assert [name for name in files + folders if f"`{name}`" not in text] == []
    for room, *_ in table("Rooms"):
        assert (ROOT / "edge" / room.strip("`")).exists(), room
