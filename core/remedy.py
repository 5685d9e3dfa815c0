"""What helps, in words; and, where a program has a command for it, which.

The core says of an error what is to be done. Commands are those of the program around it, which names them once, with
`name_commands`; messages then carry them wherever they are shown.
"""

from __future__ import annotations

from collections.abc import Mapping

_commands: dict[str, str] = {}


def name_commands(commands: Mapping[str, str]) -> None:
    """Has messages name these commands from now on: by action, with the action's things in braces."""
    _commands.update(commands)


def extra(name: str) -> str:
    """What helps where packages of an optional extra are missing."""
    return remedy("install", f"install the extra {name}", extra=name)


def remedy(action: str, words: str, **things: object) -> str:
    """`words`, and behind them the command for `action` where there is one, filled with `things`."""
    command = _commands.get(action)
    return words if command is None else f"{words} with `{command.format(**things)}`"
