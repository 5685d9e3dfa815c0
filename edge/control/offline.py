"""The console's commands without a running service: the same table, on the state itself, which is locked meanwhile."""

from __future__ import annotations

import queue
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial

from core.packs import load_pack
from edge.control.commands import COMMANDS
from edge.control.dispatcher import CommandError, Desk
from edge.control.enrolment import Enrolment
from edge.inference import Inference
from edge.inspection.recipe import LoadedRecipe, Seen
from edge.inspection.recipe_loader import Recipes, make_alfa
from edge.inspection.request import Ticket
from edge.messages import State
from edge.ops.lock import hold_state
from edge.settings import Settings, state_dir
from edge.storage.archive import Archive
from edge.storage.history import History
from edge.storage.settings_database import StateThread


class LineAtRest:
    """A configured line that does not run: it has a recipe, and no parts."""

    def __init__(self, name: str, recipe: LoadedRecipe, seq: int) -> None:
        self.seq = seq
        self.recipe = recipe
        self._name = name

    def change_recipe(self, recipe: LoadedRecipe) -> None:
        """As of a running line."""
        self.recipe = recipe

    def watch(self) -> AbstractContextManager[queue.SimpleQueue[Seen | None]]:
        """Raises CommandError: it has no parts."""
        raise CommandError(f"line {self._name} is not running, so that it has no next parts; name pictures instead")

    def stats_so_far(self) -> dict[str, int]:
        """It counts nothing."""
        return dict.fromkeys(("normal", "anomaly", "error"), 0)

    def say(self, words: str | None) -> None:
        """Nobody listens."""

    def state(self) -> tuple[State, str | None]:
        """It does not run."""
        return "stopped", "no service is running"

    def trigger(self, part_id: str, deadline_ms: int | None = None) -> Ticket | None:
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
def offline_desk(settings: Settings, bare: bool = False) -> Iterator[Desk]:
    """A desk on the state of `settings`, with the configured model; `bare`, the lines have no shots yet.

    Raises:
        LockError: a service is running, or another command.
        BankError: features of a shot are missing or damaged, and not `bare`.
        PackError, ModelError, DatabaseError: what is configured cannot be had.
    """
    with ExitStack() as stack:
        folder = state_dir(settings.service.state_dir)
        stack.callback(hold_state(folder).close)
        state = StateThread(folder)
        stack.callback(state.stop)
        state.start()
        alfa = make_alfa(settings.model, settings.method)
        scorer = Inference(alfa, 1)
        stack.callback(scorer.stop)
        scorer.start()
        recipes = Recipes(alfa, settings.model, scorer)
        history = History(state.folder)
        with recipes.text_half():
            lines = {
                name: LineAtRest(name, recipes.load(line, load_pack(line.pack)), history.last_seq(name))
                for name, line in settings.lines.items()
            }
        enrolment = Enrolment(alfa, scorer, lines, settings.lines)
        for name in () if bare else lines:
            state.run(partial(enrolment.refresh, line=name))
        yield Desk(COMMANDS, lines, state, enrolment, history, Archive(settings.archive), _keep_pack)


def _keep_pack(line: str, pack: str) -> None:
    """Raises CommandError: without a service the pack is what the configuration says."""
    raise CommandError(f"no service is running; set lines.{line}.pack = {pack!r} in the configuration")
