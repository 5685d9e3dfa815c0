"""The console's commands without a running service: the same table, on the state itself, which is locked meanwhile."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager

from edge.control.commands import COMMANDS
from edge.control.dispatcher import CommandError, Dispatcher
from edge.control.enrolment import Enrolment
from edge.control.line_control import SeenQueue, TriggeredPart
from edge.control.stored_settings import load_packs, stored_settings
from edge.inference import Inference
from edge.inspection.methods import Methods
from edge.inspection.recipe import LoadedRecipe
from edge.inspection.recipe_loader import Recipes
from edge.messages import LineHealth
from edge.ops.alarms import Alarms
from edge.ops.lock import hold_state
from edge.settings import Settings, state_dir
from edge.storage.archive import Archive
from edge.storage.history import History
from edge.storage.installation import check_installation
from edge.storage.settings_database import SettingsDatabase


class LineAtRest:
    """A configured line that does not run: it has a recipe, and no parts."""

    def __init__(self, name: str, recipe: LoadedRecipe, seq: int) -> None:
        self.seq = seq
        self.recipe = recipe
        self.paused: str | None = None
        self._name = name

    def change_recipe(self, recipe: LoadedRecipe) -> None:
        """As of a running line."""
        self.recipe = recipe

    def watch(self) -> AbstractContextManager[SeenQueue]:
        """Raises CommandError: it has no parts."""
        raise CommandError(f"line {self._name} is not running, so that it has no next parts; name pictures instead")

    def stats_so_far(self) -> dict[str, int]:
        """It counts nothing."""
        return dict.fromkeys(("normal", "anomaly", "error"), 0)

    def say(self, words: str | None) -> None:
        """Nobody listens."""

    def health(self) -> LineHealth:
        """It does not run."""
        start = "start it: `alfa-edge run --config FILE`, or its systemd unit"
        return LineHealth(state="stopped", level="warning", reason="no service is running", remedy=start)

    def trigger(self, part_id: str, deadline_ms: int | None = None) -> TriggeredPart | None:
        """Raises CommandError: nobody would answer."""
        raise self._not_running()

    def pause(self, who: str) -> None:
        """Raises CommandError."""
        raise self._not_running()

    def resume(self) -> None:
        """Raises CommandError."""
        raise self._not_running()

    def _not_running(self) -> CommandError:
        return CommandError(f"line {self._name} is not running; start the service")


@contextmanager
def offline_dispatcher(settings: Settings, bare: bool = False, stored_packs: bool = True) -> Iterator[Dispatcher]:
    """The commands on the state of `settings`, with the configured model.

    Args:
        settings: Of the service that is not running.
        bare: The lines have no shots yet, for a command that mends them.
        stored_packs: The lines have the packs that commands have set; False: those in the configuration.

    Raises:
        LockError: a service is running, or another command.
        BankError: features of a shot are missing or damaged, and not `bare`.
        PackError, ModelError, DatabaseError: what is configured or set cannot be had.
    """
    with ExitStack() as stack:
        folder = state_dir(settings.service.state_dir)
        stack.callback(hold_state(folder).close)
        check_installation(folder)
        database = SettingsDatabase(folder)
        stack.callback(database.stop)
        database.start()
        packs = load_packs(settings.lines, stored_settings(database, settings.lines) if stored_packs else {})
        methods = Methods(settings.model)
        inference = Inference(1)
        stack.callback(inference.stop)
        inference.start()
        recipes = Recipes(settings, methods, inference)
        history = History(folder)
        with recipes.text_half():
            lines = {
                name: LineAtRest(name, recipes.load(line, packs[name]), history.last_seq(name))
                for name, line in settings.lines.items()
            }
        enrolment = Enrolment(inference, database, lines, settings.lines)
        for name in () if bare else lines:
            enrolment.refresh(name)
        configured = {name: line.pack for name, line in settings.lines.items()}

        def change_pack(line: str, pack: str) -> None:
            if pack != configured[line]:
                raise CommandError(f"no service is running; set lines.{line}.pack = {pack!r} in the configuration")

        def forget(line: str) -> None:
            raise CommandError(f"no service is running that could tell the broker to forget line {line}; start it")

        yield Dispatcher(
            COMMANDS,
            lines,
            database,
            enrolment,
            history,
            Archive(settings.archive),
            Alarms(),
            configured_packs=configured,
            change_pack=change_pack,
            forget=forget,
        )
