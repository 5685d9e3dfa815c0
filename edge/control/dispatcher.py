"""Where the commands of the table are done: arguments checked, who asked noted, whatever goes wrong told."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, ValidationError

from edge.control.enrolment import Enrolment
from edge.control.protocol import Refusal, Reply, Request
from edge.storage.history import History
from edge.storage.settings_database import StateThread

if TYPE_CHECKING:
    from edge.inspection.judge import Judge
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
class Asked:
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
    """

    arguments: type[Arguments]
    run: Callable[[Desk, Any, Asked], Result]
    changes: bool = False
    machines: bool = False


class Desk:
    """The lines, and all that commands need besides. Safe for several threads."""

    def __init__(
        self,
        commands: Mapping[str, Command],
        lines: Mapping[str, Judge],
        state: StateThread,
        enrolment: Enrolment,
        history: History,
        archive: Archive,
        change_pack: Callable[[str, str], None],
    ) -> None:
        self.lines = lines
        self.state = state
        self.enrolment = enrolment
        self.history = history
        self.archive = archive
        self.change_pack = change_pack
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
            return _refused(request, "bad_arguments", f"{request.command}: {where}: {first['msg']}")
        outcome = "done"
        try:
            result, pictures = command.run(self, arguments, Asked(request.who, blobs))
        except ValueError as error:  # what can be mended: a line, a shot, a picture, a number
            outcome = f"refused: {error}"
            return _refused(request, "refused", str(error))
        except Exception as error:
            outcome = f"failed: {type(error).__name__}: {error}"
            raise
        finally:
            if command.changes:
                noted = arguments.model_dump(mode="json")
                self.state.run(lambda state: state.note(request.who, request.command, noted, outcome))
        return Reply(id=request.id, result=result), pictures

    def line(self, name: str) -> Judge:
        """Raises CommandError when there is no such line."""
        if name not in self.lines:
            raise CommandError(f"no line {name!r}; there are {', '.join(self.lines)}")
        return self.lines[name]


def _refused(request: Request, code: str, message: str) -> tuple[Reply, Sequence[bytes]]:
    return Reply(id=request.id, refusal=Refusal(code=code, message=message)), ()
