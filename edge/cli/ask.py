"""How a command of the command line asks the running service; or, where none runs, the state itself."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, Optional

import typer

from edge.cli import completion
from edge.cli.explained import explained
from edge.cli.terminal import Terminal
from edge.ops.lock import CONSOLE_LOCK, HeldError, is_held
from edge.settings import Settings, console_dir, state_dir
from edge.settings_file import CONFIG_VARIABLE, DEFAULT_CONFIG, load_settings

out = Terminal()


def _only_line(ctx: typer.Context, line: str) -> str:
    """The line that is named; where none is, the only one of the configuration."""
    if line or ctx.resilient_parsing:
        return line
    with explained():
        known = list(load_settings(ctx.params["config"]).lines)
    if len(known) > 1:
        raise typer.BadParameter(f"there are several lines, so name one: {', '.join(known)}", param_hint="--line")
    return known[0]


def _config_if_there() -> Path | None:
    return DEFAULT_CONFIG if DEFAULT_CONFIG.exists() else None


ConfigFile = Annotated[
    Path,
    typer.Option(
        "--config",
        "-c",
        help="The service's TOML file.",
        dir_okay=False,
        envvar=CONFIG_VARIABLE,
        default_factory=lambda: DEFAULT_CONFIG,
        show_default=str(DEFAULT_CONFIG),
    ),
]
"""Of commands that need a configuration. It stands before `Line`, which looks into it."""
OptionalConfigFile = Annotated[
    Optional[Path],  # noqa: UP045 - typer reads it at run time on Python 3.10 too
    typer.Option(
        "--config",
        "-c",
        help="Also check what it configures.",
        dir_okay=False,
        envvar=CONFIG_VARIABLE,
        default_factory=_config_if_there,
        show_default=f"{DEFAULT_CONFIG} where it is there",
    ),
]
"""Of a command that also works without one."""
Line = Annotated[
    str,
    typer.Option(
        help="Name of the line.",
        callback=_only_line,
        autocompletion=completion.lines,
        default_factory=str,
        show_default="the only one",
    ),
]
"""A line that is configured, and after the parsing never empty."""
Recipe = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option(
        help="Name or number of a recipe. Default: the one that the line judges by.",
        autocompletion=completion.recipes,
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Wait = Annotated[float, typer.Option(min=1, max=86_400, help="Seconds to wait for the service and its parts.")]
_NO_CONSOLE = "a service is still loading, or another command is at work; ask again in a while"
Yes = Annotated[
    Optional[list[str]],  # noqa: UP045
    typer.Option("--yes", metavar="FLAG", help="Enrol in spite of this flag, as `blurred`; may be given again."),
]
WORK_S = 600.0
"""How long a command that uses the model may take beyond the wait for its parts, as `edge.control.dispatcher` has it
without its imports."""
ALL_S = 3600.0
"""The same of one that goes through all that there is of a line."""
_REST_S = 5.0  # beyond what the service waits for, for the way there and back


def ask_service(
    config: Path,
    command: str,
    arguments: dict[str, Any],
    blobs: list[bytes] | None = None,
    timeout: float = 30.0,
    received: list[bytes] | None = None,
    meanwhile: Callable[[], None] | None = None,
) -> dict[str, Any]:
    with explained():
        from edge.control.client import ask
        from edge.control.server import SOCKET

        settings = load_settings(config)
        socket = console_dir(settings.service) / SOCKET
        pictures: Sequence[bytes]
        if is_service_there(settings):
            result, pictures = ask(socket, command, arguments, blobs or (), timeout + _REST_S, meanwhile)
        else:
            try:
                result, pictures = _offline(settings, command, arguments, blobs or [])
            except HeldError:
                raise HeldError(f"{state_dir(settings.service.state_dir)}: {_NO_CONSOLE}") from None
        if received is not None:
            received += pictures
        return result


def is_service_there(settings: Settings) -> bool:
    """Whether a service of these settings runs. A socket alone may be what a killed one has left."""
    return is_held(console_dir(settings.service) / CONSOLE_LOCK)


def _offline(
    settings: Settings, command: str, arguments: dict[str, Any], blobs: list[bytes]
) -> tuple[dict[str, Any], Sequence[bytes]]:
    """Does on the state itself what no service is there for."""
    from edge.control.asker import own_name
    from edge.control.client import RefusedError
    from edge.control.offline import offline_dispatcher
    from edge.control.protocol import ConsoleRequest

    bare, ready = command in ("shots_reembed", "shots_remove"), not command.startswith("recipe_")
    with offline_dispatcher(settings, bare, ready) as dispatcher:
        uid, claim = os.getuid(), own_name()
        request = ConsoleRequest(id="offline", command=command, arguments=arguments, who=claim, uid=uid)
        reply, pictures = dispatcher.answer(request, blobs)
    if reply.refusal is not None:
        raise RefusedError(reply.refusal.code, reply.refusal.message)
    return reply.result or {}, pictures


def of_recipe(recipe: str | None) -> str:
    """The option of a printed command that names the recipe, where the command before named one."""
    return "" if recipe is None else f" --recipe {shlex.quote(recipe)}"


def say_notes(found: dict[str, Any]) -> None:
    """Says what else a command has changed."""
    for note in found["notes"]:
        out.print(note, style="yellow", soft_wrap=True)


def say_smallest(line: str, found: dict[str, Any]) -> None:
    """Says the smallest defect that a line sees, where the reply knows it."""
    if (pixels := found.get("smallest_defect")) is not None:
        out.print(f"line {line} sees defects from about {pixels} pixels on; more tiles make that less", soft_wrap=True)
