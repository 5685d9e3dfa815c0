"""The console's commands without a running service: the same table, on the state itself, which is locked meanwhile."""

from __future__ import annotations

import queue
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial

from core.packs import load_pack
from edge.commands import CommandError, Desk
from edge.enrolment import Enrolment
from edge.line import LoadedRecipe, Seen
from edge.recipes import Recipes, make_alfa
from edge.scorer import Scorer
from edge.settings import Settings, state_dir
from edge.state import StateThread


class LineAtRest:
    """A configured line that does not run: it has a recipe, and no parts."""

    def __init__(self, name: str, recipe: LoadedRecipe) -> None:
        self.seq = 0
        self.recipe = recipe
        self._name = name

    def change_recipe(self, recipe: LoadedRecipe) -> None:
        """As of a running line."""
        self.recipe = recipe

    def watch(self) -> AbstractContextManager[queue.SimpleQueue[Seen | None]]:
        """Raises CommandError: it has no parts."""
        raise CommandError(f"line {self._name} is not running, so that it has no next parts; name pictures instead")

    def stats_so_far(self) -> dict[str, int]:
        """Raises CommandError: it counts nothing."""
        raise CommandError("the service is not running")


@contextmanager
def offline_desk(settings: Settings, bare: bool = False) -> Iterator[Desk]:
    """A desk on the state of `settings`, with the configured model; `bare`, the lines have no shots yet.

    Raises:
        LockError: a service is running, or another command.
        BankError: features of a shot are missing or damaged, and not `bare`.
        PackError, ModelError, DatabaseError: what is configured cannot be had.
    """
    with ExitStack() as stack:
        state = StateThread(state_dir(settings.service.state_dir))
        stack.callback(state.stop)
        state.start()
        alfa = make_alfa(settings.model, settings.method)
        recipes = Recipes(alfa, settings.model)
        lines = {
            name: LineAtRest(name, recipes.load(line, load_pack(line.pack))) for name, line in settings.lines.items()
        }
        recipes.release()
        scorer = Scorer(alfa, 1)
        scorer.start()
        stack.callback(scorer.stop)
        enrolment = Enrolment(alfa, scorer, lines, settings.lines)
        for name in () if bare else lines:
            state.run(partial(enrolment.refresh, line=name))
        yield Desk(lines, state, enrolment)
