"""`alfa-edge backup | restore`: copies of all that the service remembers."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

from edge.cli.ask import ConfigFile, ask_service, out
from edge.cli.explained import explained
from edge.cli.when import local
from edge.settings import state_dir
from edge.settings_file import load_settings

if TYPE_CHECKING:
    from edge.storage.backup import BackupContents
    from edge.storage.restore import PresentState


def backup(
    config: ConfigFile,
    folder: Annotated[Path, typer.Argument(help="A new or empty folder that the service can write.")],
) -> None:
    """Copy all that the service remembers into a new folder, beside what goes on."""
    found = ask_service(config, "backup", {"folder": str(folder.absolute())}, timeout=600)
    for path, size in found["files"].items():
        _say(f"{path}: {size / 1e6:.1f} MB")
    _say(f"{found['verdicts']} verdicts, {found['shots']} shots; last numbers: {_numbers(found['lines'])}")


def restore(
    config: ConfigFile,
    folder: Annotated[Optional[Path], typer.Argument(help="The folder of a backup.")] = None,  # noqa: UP045
    without: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="verdicts.db or state.db: it is lost, and the other one goes on without it."),
    ] = None,
    check: Annotated[bool, typer.Option("--check", help="Only say what it brings.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Also a backup of another installation.")] = False,
) -> None:
    """Put a backup in the place of all that the service remembers, while it does not run. What it replaces is kept."""
    if (folder is None) == (without is None):
        raise typer.BadParameter("name the folder of a backup, or --without FILE")
    if check and folder is None:
        raise typer.BadParameter("it looks at the folder of a backup; --without FILE has none", param_hint="--check")
    with explained():
        from edge.control.asker import own_name, user_of
        from edge.ops.lock import hold_state
        from edge.storage.installation import SETTINGS, VERDICTS
        from edge.storage.restore import check_backup, go_on_without, look_at_state, restore_state

        kinds = {kind.file: kind for kind in (VERDICTS, SETTINGS)}
        if without is not None and without not in kinds:
            raise typer.BadParameter(f"it is one of {', '.join(kinds)}", param_hint="--without")
        who = user_of(os.getuid(), own_name()).who
        state = state_dir(load_settings(config).service.state_dir)
        with hold_state(state):
            if folder is None:
                kept = go_on_without(state, kinds[str(without)], who)
                _say(f"{state} goes on without {without}")
            else:
                brought, present = check_backup(folder, state), look_at_state(state)
                _describe(folder, brought, present)
                if check:
                    return
                kept = restore_state(folder, state, brought, present, who, other=yes)
                _say(f"{state} is what the backup has; its numbers go on in a new generation. Start the service")
            if kept is not None:
                _say(f"what was replaced is kept in {kept}")


def _describe(folder: Path, brought: BackupContents, present: PresentState) -> None:
    when = local(brought.copied_at) if brought.copied_at else "copied by hand, nobody knows when"
    _say(f"backup {folder}: of {when}, installation {brought.installation or 'without an id'}")
    _say(f"it brings {brought.verdicts} verdicts and {brought.shots} shots; last numbers: {_numbers(brought.lines)}")
    for words in present.unreadable:
        _say(f"in its place: {words}")
    if present.lines:
        _say(f"it replaces: last numbers {_numbers(present.lines)}")
    if present.waiting:
        _say(f"{present.waiting} verdicts that it replaces wait for the broker, and will not be sent", style="yellow")


def _numbers(lines: Mapping[str, Any]) -> str:
    numbers = {line: number if isinstance(number, dict) else vars(number) for line, number in sorted(lines.items())}
    return (
        ", ".join(f"{line} {number['seq']} (generation {number['generation']})" for line, number in numbers.items())
        or "none"
    )


def _say(words: str, style: str | None = None) -> None:
    out.print(words, soft_wrap=True, style=style)
