"""What the core does without: the network, the environment, and the commands of the program around it."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

CORE = Path(__file__).parents[2] / "core"
NETWORK = {"http", "huggingface_hub", "requests", "socket", "ssl", "urllib"}
_COMMAND = re.compile(r"\balfa-edge [a-z]")


def sources() -> list[Path]:
    return sorted(path for path in CORE.rglob("*.py") if path.is_file())


def imported(tree: ast.AST) -> set[str]:
    """The packages that a module imports, wherever in it."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {name.name.partition(".")[0] for name in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.partition(".")[0])
    return found


@pytest.mark.parametrize("path", sources(), ids=lambda path: path.relative_to(CORE).as_posix())
def test_a_module_of_the_core_knows_no_network_environment_or_command(path: Path) -> None:
    text = path.read_text("utf-8")
    tree = ast.parse(text)
    assert "edge" not in imported(tree)
    if path.parent.name != "weights":  # which fetches, behind `core.weights.fetch`
        assert not imported(tree) & NETWORK
    names = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    assert not names & {"environ", "getenv", "putenv"}
    assert not _COMMAND.findall(text)
