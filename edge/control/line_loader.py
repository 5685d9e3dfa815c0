"""What the lines of a configuration judge by, as every start makes it ready: packs, texts, shots, calibrations."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass

from core.tiles import most_tiles
from edge.control.enrolment import Enrolment
from edge.control.line_control import LineControl
from edge.control.stored_settings import StoredSettings, load_packs, stored_settings
from edge.inference import Inference
from edge.inspection.methods import Methods
from edge.inspection.recipe import LoadedRecipe
from edge.inspection.recipe_loader import Recipes
from edge.ops.worker import Workers
from edge.settings import Settings
from edge.storage.settings_database import SettingsDatabase


@dataclass(frozen=True)
class LoadedLines:
    """What lines judge by.

    Attributes:
        inference: Of the model; it runs, and has been warmed up.
        recipes: Loads further recipes.
        enrolment: Changes shots and thresholds.
        stored: What commands have set on each line.
        of_line: The recipe of each line.
    """

    inference: Inference
    recipes: Recipes
    enrolment: Enrolment
    stored: Mapping[str, StoredSettings]
    of_line: Mapping[str, LoadedRecipe]


def load_lines(
    settings: Settings,
    methods: Methods,
    database: SettingsDatabase,
    lines: Mapping[str, LineControl],
    workers: Workers,
    stack: ExitStack,
) -> LoadedLines:
    """Loads all that the lines need; `stack` ends the inference.

    Args:
        settings: Of the service.
        methods: On its model.
        database: Is open.
        lines: The lines that run, which may come later.
        workers: Who watches the inference.
        stack: Of what is ended in turn.

    Raises:
        PackError, ModelError, BatchTooLargeError: what is configured or set cannot be had.
        BankError: features of a shot are missing or damaged.
        DatabaseError: the disk does not take it.
    """
    stored = stored_settings(database, settings.lines)
    packs = load_packs(settings.lines, stored)
    rows = [most_tiles(line.tiles) for line in settings.lines.values()]
    batch = max([min(settings.model.batch, sum(rows)), *rows])  # a frame is not parted between passes
    inference = Inference(batch, workers)
    stack.callback(inference.stop)
    inference.start()
    recipes = Recipes(settings, methods, inference)
    with recipes.text_half():
        texts = {name: recipes.load(line, packs[name]) for name, line in settings.lines.items()}
    for inspector in dict.fromkeys(recipe.inspector for recipe in texts.values()):
        inference.ask(inspector, lambda inspector: inspector.warm_up(batch)).result()
    enrolment = Enrolment(inference, database, lines, settings.lines)
    of_line = {name: enrolment.recipe(name, recipe) for name, recipe in texts.items()}
    return LoadedLines(inference, recipes, enrolment, stored, of_line)
