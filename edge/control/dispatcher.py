"""Where the commands of the table are done: arguments checked, who asks noted, whatever goes wrong told."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, ValidationError

from core.database import DatabaseError
from edge.control.enrolment import Enrolment
from edge.control.protocol import Refusal, Reply, Request
from edge.ops.alarms import Alarms
from edge.storage.history import History
from edge.storage.settings_database import SettingsDatabase, SettingsTables

if TYPE_CHECKING:
    from edge.control.line_control import LineControl
    from edge.storage.archive import Archive

Result = tuple[dict[str, Any], Sequence[bytes]]


class CommandError(ValueError):
    """The command cannot be done as asked; the message says why, and what to do."""


class Arguments(BaseModel):
    """What a command takes."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class NoArguments(Arguments):
    """Nothing."""


class OfLine(Arguments):
    """A line."""

    line: str
    """Its name."""


@dataclass(frozen=True)
class Caller:
    """Who asks, and what was sent along."""

    who: str
    blobs: Sequence[bytes]


@dataclass(frozen=True)
class Command:
    """One entry of the table.

    Attributes:
        arguments: What it takes.
        run: Does it.
        changes: Whether it changes something, and so stands in the audit.
        machines: Whether it may be asked for on `line/<line>/command`.
        quick: Whether it waits for nothing but a short write, and so never stands behind one that is not quick.
    """

    arguments: type[Arguments]
    run: Callable[[Dispatcher, Any, Caller], Result]
    changes: bool = False
    machines: bool = False
    quick: bool = False


class Dispatcher:
    """The lines, and all that commands need besides. Safe for several threads."""

    def __init__(
        self,
        commands: Mapping[str, Command],
        lines: Mapping[str, LineControl],
        database: SettingsDatabase,
        enrolment: Enrolment,
        history: History,
        archive: Archive,
        alarms: Alarms,
        *,
        configured_packs: Mapping[str, str],
        change_pack: Callable[[str, str], None],
        forget: Callable[[str], None],
    ) -> None:
        """The parts of the service that commands use.

        Args:
            commands: The table.
            lines: By name.
            database: Of what people set.
            enrolment: Changes shots and thresholds.
            history: Of verdicts.
            archive: Of pictures.
            alarms: Where it is said that something could not be written.
            configured_packs: Of each line.
            change_pack: Has a line (the first argument) judge by a pack from its next frame on.
            forget: Clears what the broker keeps of a line that is not configured; returns when the broker has said so.
        """
        self.lines = lines
        self.database = database
        self.enrolment = enrolment
        self.history = history
        self.archive = archive
        self.alarms = alarms
        self.configured_packs = configured_packs
        self.change_pack = change_pack
        self.forget = forget
        self.pausing = threading.Lock()
        """Held while a line is paused or resumed, so that the database keeps what the line does."""
        self._commands = commands

    def answer(self, request: Request, blobs: Sequence[bytes]) -> tuple[Reply, Sequence[bytes]]:
        """Does what a request asks, and writes it to the audit if it changes something."""
        command = self._commands.get(request.command)
        if command is None:
            known = ", ".join(self._commands)
            return _refused(request, "unknown_command", f"no command {request.command!r}; known: {known}")
        try:
            arguments = command.arguments.model_validate(request.arguments)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            takes = ", ".join(name for name in command.arguments.model_fields) or "none"
            message = f"{request.command}: {where}: {first['msg']}; its arguments: {takes}"
            return _refused(request, "bad_arguments", message)
        outcome = "done"
        try:
            result, pictures = command.run(self, arguments, Caller(request.who, blobs))
        except ValueError as error:  # what can be mended: a line, a shot, a picture, a number
            outcome = f"refused: {error}"
            return _refused(request, "refused", str(error))
        except Exception as error:
            outcome = f"failed: {type(error).__name__}: {error}"
            raise
        finally:
            if command.changes:
                noted = arguments.model_dump(mode="json")
                self._write(
                    "audit",
                    lambda tables: tables.note(request.who, request.command, noted, outcome),
                    f"{request.command} by {request.who} ({outcome[:200]}) is not in the audit",
                )
        return Reply(id=request.id, result=result), pictures

    def is_quick(self, command: str) -> bool:
        """Whether the command of this name never stands behind one that takes longer."""
        return command in self._commands and self._commands[command].quick

    def line(self, name: str) -> LineControl:
        """Raises CommandError when there is no such line."""
        if name not in self.lines:
            raise CommandError(f"no line {name!r}; there are {', '.join(self.lines)}")
        return self.lines[name]

    def keep(self, line: str, job: Callable[[SettingsTables], object], setting: str) -> bool:
        """Writes a setting that the line has already; whether a restart will find it. Where not, an alarm says so."""
        return self._write("line_settings", job, f"{setting}; a restart would undo that, as it is not on disk", line)

    def _write(
        self, alarm: str, job: Callable[[SettingsTables], object], failure: str, line: str | None = None
    ) -> bool:
        """Writes what was done. Where the disk does not take it, that is an alarm, and what was done stays done."""
        try:
            self.database.run(job)
        except DatabaseError as error:
            self.alarms.raise_(alarm, f"{failure}: {error}", line)
            return False
        self.alarms.clear(alarm, line)
        return True


def _refused(request: Request, code: str, message: str) -> tuple[Reply, Sequence[bytes]]:
    return Reply(id=request.id, refusal=Refusal(code=code, message=message)), ()
