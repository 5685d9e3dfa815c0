from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest
import typer

from core.remedy import remedy
from edge.cli.app import app
from edge.remedies import COMMANDS, install_command


def test_each_command_that_a_message_names_is_one() -> None:
    for action, command in COMMANDS.items():
        program, *words = shlex.split(command)
        if program != "alfa-edge":  # an option, of the commands that look after weights, or pip
            continue
        found = typer.main.get_command(app)
        while words and hasattr(found, "commands"):
            found = found.commands[words.pop(0)]
        options = {option for parameter in found.params for option in parameter.opts}
        assert {word for word in words if word.startswith("--")} <= options, action


def test_messages_of_the_core_carry_the_command() -> None:
    words = remedy("pull", "fetch them once", model="ViT-B-16", tag="openai")
    assert words == "fetch them once with `alfa-edge model pull ViT-B-16 openai`"
    assert remedy("nothing of ours", "do it by hand") == "do it by hand"


@pytest.mark.parametrize(
    ("origin", "command"),
    [
        (None, "pip install 'alfa-edge[photo]'"),
        ({"url": "file:///opt/alfa%20edge", "dir_info": {}}, "pip install '/opt/alfa edge[photo]'"),
        ({"url": "file:///src/a{b}", "dir_info": {"editable": True}}, "pip install -e '/src/a{b}[photo]'"),
        ({"url": "file:///mnt/alfa_edge-0.1.0-py3-none-any.whl"}, "'/mnt/alfa_edge-0.1.0-py3-none-any.whl[photo]'"),
        (
            {"url": "https://git.local/alfa-edge", "vcs_info": {"vcs": "git"}},
            "pip install 'alfa-edge[photo] @ git+https://git.local/alfa-edge'",
        ),
    ],
    ids=["an index", "a folder", "a checkout", "a file", "a repository"],
)
def test_an_extra_is_installed_from_where_the_program_came_from(
    origin: dict[str, object] | None, command: str, tmp_path: Path
) -> None:
    told = None if origin is None else json.dumps(origin)
    assert install_command(told, tmp_path).format(extra="photo").endswith(command)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "pip").touch()
    assert install_command(told, tmp_path).startswith(f"{tmp_path}/bin/pip install ")
