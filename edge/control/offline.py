"""The console's commands without a running service: the same table, on the state itself, which is locked meanwhile."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager

from edge.control.commands import COMMANDS
from edge.control.dispatcher import CommandError, Dispatcher
from edge.control.enrolment import Enrolment
from edge.control.line_control import SeenQueue, TriggeredPart
from edge.control.recipe_management import RecipeManagement
from edge.inference import Inference
from edge.inspection.line_recipes import LineRecipes
from edge.inspection.methods import Methods
from edge.inspection.recipe import LoadedRecipe
from edge.inspection.recipe_loader import Recipes
from edge.inspection.shadow import NOTHING
from edge.messages import LineHealth
from edge.ops.alarms import Alarms
from edge.ops.lock import hold_state
from edge.ops.metrics import Gauges
from edge.settings import Settings, state_dir
from edge.storage.archive import Archive
from edge.storage.history import History
from edge.storage.installation import check_installation
from edge.storage.settings_database import SettingsDatabase


class LineAtRest:
    """A configured line that does not run: it has recipes, and no parts."""

    def __init__(self, recipes: LineRecipes, seq: int) -> None:
        self.seq = seq
        self.in_review = 0
        self.recipes = recipes
        self.paused: str | None = None
        self.shadow_counts = NOTHING
        self._name = recipes.line

    @property
    def recipe(self) -> LoadedRecipe:
        """As of a running line."""
        return self.recipes.loaded

    def watch(self) -> AbstractContextManager[SeenQueue]:
        """Raises CommandError: it has no parts."""
        raise CommandError(f"line {self._name} is not running, so that it has no next parts; name pictures instead")

    def note_review(self, waiting: int) -> None:
        """As of a running line."""
        self.in_review = waiting

    def stats_so_far(self) -> dict[str, int]:
        """It counts nothing."""
        return dict.fromkeys(("normal", "anomaly", "error"), 0)

    def say(self, words: str | None) -> None:
        """Nobody listens."""

    def health(self) -> LineHealth:
        """It does not run."""
        start = "start it: `alfa-edge run --config FILE`, or its systemd unit"
        return LineHealth(state="stopped", level="warning", reason="no service is running", remedy=start)

    def gauges(self) -> Gauges:
        """It has none."""
        return Gauges()

    def trigger(self, part_id: str, deadline_ms: int | None = None, recipe: str | None = None) -> TriggeredPart | None:
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
def offline_dispatcher(settings: Settings, bare: bool = False, ready: bool = True) -> Iterator[Dispatcher]:
    """The commands on the state of `settings`, with the configured model.

    Args:
        settings: Of the service that is not running.
        bare: The recipes have no shots yet, for a command that mends them.
        ready: The lines' recipes are ready; False: none is until a command needs it, so that one can be mended.

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
        alarms = Alarms()
        recipes = RecipeManagement(settings.lines, database, alarms=alarms)
        methods = Methods(settings.model)
        inference = Inference(1)
        stack.callback(inference.stop)
        inference.start()
        loader = Recipes(settings, methods, inference)
        history = History(folder)
        enrolment = Enrolment(inference, database, recipes.lines)
        stack.callback(recipes.stop)
        recipes.start(loader, enrolment, bare=bare)
        stack.enter_context(loader.text_half())
        for line in recipes.lines.values() if ready else ():
            recipes.load(line.active)
        lines = {name: LineAtRest(line, history.last_seq(name)) for name, line in recipes.lines.items()}

        def forget(line: str) -> None:
            raise CommandError(f"no service is running that could tell the broker to forget line {line}; start it")

        yield Dispatcher(
            COMMANDS,
            lines,
            database,
            enrolment,
            history,
            Archive(settings.archive),
            alarms,
            recipes=recipes,
            service=settings.service,
            forget=forget,
        )
