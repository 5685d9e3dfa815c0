"""What the lines of a configuration judge by, as every start makes it ready: packs, texts, shots, calibrations."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass

from core.tiles import most_tiles
from edge.control.enrolment import Enrolment
from edge.control.recipe_management import RecipeManagement
from edge.inference import Inference
from edge.inspection.methods import Methods
from edge.inspection.recipe_loader import Recipes
from edge.ops.alarms import Alarms
from edge.ops.worker import Workers
from edge.settings import Settings
from edge.storage.settings_database import SettingsDatabase


@dataclass(frozen=True)
class LoadedLines:
    """What lines judge by.

    Attributes:
        inference: Of the model; it runs, and has been warmed up.
        recipes: The recipes of all lines, of which the active ones are ready.
        enrolment: Changes shots and thresholds.
        paused: Who has paused a line, where somebody has.
    """

    inference: Inference
    recipes: RecipeManagement
    enrolment: Enrolment
    paused: Mapping[str, str]


def load_lines(
    settings: Settings,
    methods: Methods,
    database: SettingsDatabase,
    workers: Workers,
    alarms: Alarms,
    stack: ExitStack,
) -> LoadedLines:
    """Loads all that the lines need; `stack` ends the threads.

    Args:
        settings: Of the service.
        methods: On its model.
        database: Is open.
        workers: Who watches the threads.
        alarms: Where it is told what the disk does not take.
        stack: Of what is ended in turn.

    Raises:
        PackError, ModelError, BatchTooLargeError: what is configured or set cannot be had.
        BankError: features of a shot are missing or damaged.
        DatabaseError: the disk does not take it.
    """
    recipes = RecipeManagement(settings.lines, database, workers, alarms)
    rows = [max(map(most_tiles, recipes.tiles(line))) for line in settings.lines]
    batch = max([min(settings.model.batch, sum(rows)), *rows])  # a frame is not parted between passes
    inference = Inference(batch, workers)
    stack.callback(inference.stop)
    inference.start()
    loader = Recipes(settings, methods, inference)
    enrolment = Enrolment(inference, database, recipes.lines)
    stack.callback(recipes.stop)
    recipes.start(loader, enrolment, batch=batch)
    with loader.text_half():
        for line in recipes.lines.values():
            recipes.load(line.active)
            if line.shadow is not None:
                recipes.prepare(line.shadow.slot)
    paused = database.run(lambda tables: {name: tables.paused(name) for name in settings.lines})
    return LoadedLines(inference, recipes, enrolment, {name: who for name, who in paused.items() if who is not None})
