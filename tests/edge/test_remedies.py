from __future__ import annotations

import shlex

import typer

from core.remedy import remedy
from edge.cli.app import app
from edge.remedies import COMMANDS


def test_each_command_that_a_message_names_is_one() -> None:
    for action, command in COMMANDS.items():
        program, *words = shlex.split(command)
        if program != "alfa-edge":  # an option, of the commands that look after weights
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
