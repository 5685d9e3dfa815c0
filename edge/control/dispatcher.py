"""Where the commands of the table are done: arguments checked, who asks noted, whatever goes wrong told."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from core.database.database import DatabaseError
from edge.control.arguments import Arguments, ArgumentsError, OfRecipe, read_arguments
from edge.control.asker import Asker
from edge.control.calibration_runs import CalibrationRuns
from edge.control.changes import State, differing
from edge.control.command_queue import LIMIT_S
from edge.control.enrolment import Enrolment
from edge.control.previews import Previews
from edge.control.protocol import Refusal, Reply, Request
from edge.control.shadow_management import ShadowManagement
from edge.ops.alarms import Alarms
from edge.settings import ServiceSettings
from edge.storage.history import History
from edge.storage.settings_database import SettingsDatabase, SettingsTables

if TYPE_CHECKING:
    from edge.control.line_control import LineControl
    from edge.control.recipe_management import RecipeManagement
    from edge.inspection.line_recipes import RecipeSlot
    from edge.storage.archive import Archive

Result = tuple[dict[str, Any], Sequence[bytes]]

WORK_S = 600.0
"""The limit of a command that uses the model: a pass, or the sentences of a pack, may take minutes on a small box."""
ALL_S = 3600.0
"""The limit of a command that goes through all that there is of a line."""


class CommandError(ValueError):
    """The command cannot be done as asked; the message says why, and what to do."""


@dataclass(frozen=True)
class Caller:
    """Who asks, and what was sent along."""

    asker: Asker
    blobs: Sequence[bytes]

    @property
    def who(self) -> str:
        """The asker, as a person reads it."""
        return self.asker.title


@dataclass(frozen=True)
class Command:
    """One entry of the table.

    Attributes:
        arguments: What it takes.
        run: Does it.
        changes: Whether it changes something, and so stands in the audit.
        machines: Whether it may be asked for on `line/<line>/command`.
        state: What of the state it may change, as it is now. It is asked before and after, and the audit keeps what
            differs: what others change while the command is at work, too. Raises as `run` does.
        quick: Whether it waits for nothing but a short write, and so never stands behind one that is not quick.
        limit_s: How long it may take, besides the `timeout_s` of its arguments.
    """

    arguments: type[Arguments]
    run: Callable[[Dispatcher, Any, Caller], Result]
    changes: bool = False
    state: Callable[[Dispatcher, Any], State] | None = None
    machines: bool = False
    quick: bool = False
    limit_s: float = LIMIT_S


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
        recipes: RecipeManagement,
        service: ServiceSettings,
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
            recipes: Of all lines.
            service: What is set of the service as a whole.
            forget: Clears what the broker keeps of a line that is not configured; returns when the broker has said so.
        """
        self.lines = lines
        self.database = database
        self.enrolment = enrolment
        self.history = history
        self.archive = archive
        self.alarms = alarms
        self.recipes = recipes
        self.service = service
        self.previews = Previews()
        self.shadows = ShadowManagement(recipes, database)
        self.forget = forget
        self.pausing = threading.Lock()
        """Held while a line is paused or resumed, so that the database keeps what the line does."""
        self.calibrations = CalibrationRuns()
        self._commands = commands

    def answer(self, request: Request, blobs: Sequence[bytes]) -> tuple[Reply, Sequence[bytes]]:
        """Does what a request asks, and writes it to the audit if it changes something."""
        command = self._commands.get(request.command)
        if command is None:
            known = ", ".join(self._commands)
            return _refused(request, "unknown_command", f"no command {request.command!r}; known: {known}")
        try:
            arguments = read_arguments(command.arguments, request.command, request.arguments)
        except ArgumentsError as error:
            return _refused(request, "bad_arguments", str(error))
        arguments = self._with_recipe(arguments)
        asker, outcome, before = request.asker, "done", None
        try:
            before = command.state(self, arguments) if command.state is not None else None
            result, pictures = command.run(self, arguments, Caller(asker, blobs))
        except ValueError as error:  # what can be mended: a line, a shot, a picture, a number
            outcome = f"refused: {error}"
            return _refused(request, "refused", str(error))
        except Exception as error:
            outcome = f"failed: {type(error).__name__}: {error}"
            raise
        finally:
            if command.changes:
                self._audit(request, command, arguments, before, outcome)
        return Reply(id=request.id, result=result), pictures

    def is_quick(self, command: str) -> bool:
        """Whether the command of this name never stands behind one that takes longer."""
        return command in self._commands and self._commands[command].quick

    def limit_s(self, request: Request) -> float:
        """How long a request may take, from when it is begun."""
        command = self._commands.get(request.command)
        if command is None:
            return LIMIT_S
        try:
            arguments = read_arguments(command.arguments, request.command, request.arguments)
        except ArgumentsError:  # it is refused at once
            return LIMIT_S
        waits_s: float = getattr(arguments, "timeout_s", 0.0)
        return command.limit_s + waits_s

    def line(self, name: str) -> LineControl:
        """Raises CommandError when there is no such line."""
        if name not in self.lines:
            raise CommandError(f"no line {name!r}; there are {', '.join(self.lines)}")
        return self.lines[name]

    def recipe(self, line: str, choice: str | None = None, *, retired: bool = False) -> RecipeSlot:
        """A recipe of a line, by its name or number; by default the active one. It may not be ready yet.

        Raises:
            CommandError: there is no such line.
            UnknownRecipeError: there is no such recipe; or it is retired, and that will not do.
        """
        recipes = self.line(line).recipes
        return recipes.active if choice is None else recipes.find(choice, retired=retired)

    def ready(self, line: str, choice: str | None = None) -> RecipeSlot:
        """As `recipe`, once it is ready; waits for that.

        Raises:
            PackError, ModelError, BankError, DatabaseError: it cannot be made ready.
        """
        slot = self.recipe(line, choice)
        self.recipes.load(slot)
        return slot

    def keep(self, line: str, job: Callable[[SettingsTables], object], setting: str) -> bool:
        """Writes a setting that the line has already; whether a restart will find it. Where not, an alarm says so."""
        return self._write(
            "line_settings",
            lambda: self.database.run(job),
            f"{setting}; a restart would undo that, as it is not on disk",
            line,
        )

    def _with_recipe(self, arguments: Arguments) -> Arguments:
        """With the recipe that is meant where none is named: the line may change over while the command is at work."""
        if not isinstance(arguments, OfRecipe) or arguments.recipe is not None or arguments.line not in self.lines:
            return arguments
        return arguments.model_copy(update={"recipe": str(self.lines[arguments.line].recipes.active.stored.number)})

    def _audit(
        self, request: Request, command: Command, arguments: Arguments, before: State | None, outcome: str
    ) -> None:
        asker, noted = request.asker, arguments.model_dump(mode="json")

        def write() -> None:
            states: tuple[State | None, State | None] = (None, None)
            if command.state is not None and before is not None:
                states = differing(before, command.state(self, arguments))
            self.database.run(
                lambda tables: tables.note(asker.who, request.command, noted, outcome, asker.claimed, states)
            )

        self._write("audit", write, f"{request.command} by {asker.who} ({outcome[:200]}) is not in the audit")

    def _write(self, alarm: str, write: Callable[[], object], failure: str, line: str | None = None) -> bool:
        """Writes what was done. Where the disk does not take it, that is an alarm, and what was done stays done."""
        try:
            write()
        except DatabaseError as error:
            self.alarms.raise_(alarm, f"{failure}: {error}", line)
            return False
        self.alarms.clear(alarm, line)
        return True


def unless_kept(kept: bool) -> dict[str, bool]:
    """What a reply says besides, where the disk did not take what was set."""
    return {} if kept else {"kept": False}


def _refused(request: Request, code: str, message: str) -> tuple[Reply, Sequence[bytes]]:
    return Reply(id=request.id, refusal=Refusal(code=code, message=message)), ()
