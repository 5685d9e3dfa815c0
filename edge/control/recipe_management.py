"""Makes recipes ready, keeps what is set of them, and which one each line judges by."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import replace
from functools import partial
from typing import Any

from pydantic import ValidationError

from core.bank.shot_folder import shots_of
from core.database.database import DatabaseError
from core.image import Rgb
from core.inspector import AnyInspector
from core.packs.pack import PackError, load_pack
from core.printable import shown
from core.tiles import Tiles
from edge.clock import monotonic, utc_now
from edge.control.enrolment import Enrolment
from edge.inference import Scored
from edge.inspection.line_recipes import LineRecipes, RecipeSlot
from edge.inspection.recipe import LoadedRecipe
from edge.inspection.recipe_loader import Recipes
from edge.ops.alarms import Alarms
from edge.ops.logs import line_log
from edge.ops.worker import Worker, Workers
from edge.settings import CameraSettings, LineSettings
from edge.settings_recipe import RecipeSettings
from edge.settings_words import keys_of, wrong_settings
from edge.storage.recipe_folder import RecipeFolder
from edge.storage.recipe_tables import RecipeError, StoredRecipe
from edge.storage.settings_database import SettingsDatabase, SettingsTables
from edge.storage.shadow_tables import StoredShadow

log = logging.getLogger(__name__)

READY = 4
"""So many recipes of a line stay ready besides the active one: each holds the features of its shots in memory."""
_PATIENCE_S = 600.0  # a pack that is new to the box takes minutes on a small one
_RETRY_S = 1.0  # after the disk did not take which recipe is active


class RecipeManagement:
    """Of all lines. Any thread may call it; what takes longer says so."""

    def __init__(
        self,
        configured: Mapping[str, LineSettings],
        database: SettingsDatabase,
        workers: Workers | None = None,
        alarms: Alarms | None = None,
    ) -> None:
        """Reads which recipes there are, and makes none ready yet.

        Args:
            configured: The lines. What has changed there since the last start is a new revision of a line's first
                recipe.
            database: Is open.
            workers: Who watches the thread that makes recipes ready.
            alarms: Where it is told that the disk does not take which recipe is active.

        Raises:
            DatabaseError: the disk does not take it.
        """
        self._configured = configured
        self._database = database
        self._alarms = alarms or Alarms()
        self._loader: Recipes | None = None
        self._enrolment: Enrolment | None = None
        self._batch, self._bare = 0, False
        self._warm: set[AnyInspector] = set()  # methods that were warmed up
        self._lock = threading.Lock()  # guards what follows
        self._wanted: deque[RecipeSlot] = deque()
        self._unkept: dict[str, int] = {}  # by line, the active recipe that the disk has not taken
        self._retry_at = 0.0  # when it is given those again
        self.lines = {line: self._read(line, settings) for line, settings in configured.items()}
        self._worker = Worker(workers, "recipes", self._work, patience_s=_PATIENCE_S, vital=False)

    def start(self, loader: Recipes, enrolment: Enrolment, *, batch: int = 0, bare: bool = False) -> None:
        """From now on recipes can be made ready.

        Args:
            loader: Of packs and methods.
            enrolment: Of shots and calibrations.
            batch: The rows of the largest pass, for which a method is warmed up; 0: it is not.
            bare: Without their shots, which are to be mended.
        """
        self._loader, self._enrolment, self._batch, self._bare = loader, enrolment, batch, bare
        self._worker.start()

    def stop(self) -> None:
        """Makes no more recipes ready."""
        self._worker.stop()

    def tiles(self, line: str) -> list[Tiles]:
        """Into which the regions of the line's recipes are cut, of those that can be used."""
        return [slot.stored.settings.tiles for slot in self.lines[line].slots if not slot.stored.retired]

    def load(self, slot: RecipeSlot) -> LoadedRecipe:
        """The recipe, ready; waits while it is made so.

        Raises:
            PackError, ModelError, BankError, DatabaseError: it cannot be; the message says why.
        """
        if (ready := slot.loaded) is not None:  # whoever changes it meanwhile may take long
            return ready
        assert self._enrolment is not None
        with self._enrolment.changing(slot):
            loaded = slot.loaded
            if loaded is None:
                loaded = self._make(slot.stored)
                slot.settle(loaded)
                self._note_ready(slot)
        return loaded

    def inspect(self, recipe: LoadedRecipe, image: Rgb) -> Future[Scored]:
        """As `edge.inspection.recipe_loader.Recipes.inspect`."""
        assert self._loader is not None
        return self._loader.inspect(recipe, image)

    def activate(self, slot: RecipeSlot) -> bool:
        """Has the line judge by the recipe from its next part on; waits until it is ready, and on disk.

        Returns:
            Whether a restart will find it; where not, there is an alarm.

        Raises:
            PackError, ModelError, BankError, DatabaseError: it cannot be made ready; the line goes on as before.
        """
        self.load(slot)
        kept = self.lines[slot.stored.line].activate(slot)
        line_log(__name__, slot.stored.line).info("recipe %s (%d)", slot.stored.name, slot.stored.number)
        try:
            kept.result()
        except DatabaseError:
            return False
        return True

    def add(
        self,
        line: str,
        name: str,
        settings: RecipeSettings,
        *,
        who: str,
        number: int | None = None,
        like: RecipeSlot | None = None,
        reason: str = "",
    ) -> RecipeSlot:
        """Makes a new recipe, which is not ready yet; with the shots and the calibration of `like`.

        Raises:
            RecipeError: name or number are taken.
            PackError: its pack cannot be loaded.
            DatabaseError: the disk does not take it.
        """
        load_pack(settings.pack)

        def make(tables: SettingsTables) -> StoredRecipe:
            stored = tables.recipes.add(line, number, name, settings, who=who, reason=reason)
            if like is not None:
                tables.copy_shots(like.stored.key, stored.key, who)
            return stored

        slot = RecipeSlot(self._database.run(make))
        self.lines[line].add(slot)
        return slot

    def revise(self, slot: RecipeSlot, changes: Mapping[str, Any], *, who: str, reason: str = "") -> StoredRecipe:
        """Makes a recipe's next revision; a ready one goes on by it from the next part on.

        Args:
            slot: The recipe.
            changes: Values of `RecipeSettings` by their names.
            who: Who wants it.
            reason: Why.

        Raises:
            RecipeError: a value is not what the setting takes, or nothing changes.
            PackError, ModelError, BankError, DatabaseError: it cannot be used so; the recipe is as before.
        """
        assert self._enrolment is not None
        with self._enrolment.changing(slot):
            before = slot.stored
            settings = changed_settings(before.settings, changes)
            if settings == before.settings:
                raise RecipeError(f"recipe {before.name} of line {before.line} is like that already; nothing changes")
            load_pack(settings.pack)
            loaded = None
            if slot.loaded is not None:
                loaded = self._make(replace(before, revision=before.revision + 1, settings=settings))
            stored = self._database.run(
                lambda tables: tables.recipes.revise(before.line, before.number, settings, who=who, reason=reason)
            )
            slot.change(stored, loaded)
        recipes = self.lines[before.line]
        if slot is recipes.active:
            recipes.prepare(slot)
        return stored

    def take_folder(
        self, line: str, folder: RecipeFolder, *, who: str, name: str, number: int | None, replaced: RecipeSlot | None
    ) -> RecipeSlot:
        """Makes a recipe of a folder, or has one say what the folder says: settings, shots and calibration.

        Args:
            line: Whose recipe it is to be.
            folder: Was checked. Parts are judged by all of it, or by nothing of it.
            who: Who wants it.
            name: Of the new recipe.
            number: Of the new recipe; None: the next one.
            replaced: The recipe in whose place it is; its shots that the folder has not are put aside.

        Raises:
            RecipeError: name or number are taken.
            PackError, ModelError, BankError, DatabaseError: it cannot be used here; what was enrolled by then stays.
        """
        assert self._enrolment is not None
        reason = f"imported from {folder.shots.parent}"
        slot = replaced or self.add(line, name, folder.settings, who=who, number=number, reason=reason)
        enrolment, key = self._enrolment, slot.stored.key
        with enrolment.changing(slot):
            draft = RecipeSlot(slot.stored, slot.loaded)
            try:
                if draft.stored.settings != folder.settings:
                    self.revise(draft, dict(folder.settings), who=who, reason=reason)
                if draft.loaded is None:
                    draft.settle(self._make(draft.stored))
                wanted = shots_of(folder.shots)

                def put_aside(tables: SettingsTables) -> None:
                    for shot in tables.bank.shots(key):
                        if shot.sha256 not in wanted:
                            tables.bank.remove(shot.id, utc_now(), who)

                self._database.run(put_aside)
                enrolment.import_folder(draft, folder.shots, who)
                if folder.calibration is not None:
                    enrolment.take_calibration(draft, folder.calibration, who)
            finally:  # of an import that has failed, too, the line goes on by what is kept
                slot.change(draft.stored, draft.loaded)
                self._note_ready(slot)
        return slot

    def rename(self, slot: RecipeSlot, name: str) -> None:
        """Gives a recipe another name. Raises RecipeError: it is another recipe's."""
        assert self._enrolment is not None
        with self._enrolment.changing(slot):
            before = slot.stored
            stored = self._database.run(lambda tables: tables.recipes.rename(before.line, before.number, name))
            slot.change(stored, slot.loaded)

    def retire(self, slot: RecipeSlot, retired: bool) -> None:
        """Takes a recipe out of use, or back.

        Raises:
            RecipeError: it is the line's active one, or that of its shadow.
            DatabaseError: the disk does not take it; the recipe is as before.
        """
        assert self._enrolment is not None
        with self._enrolment.changing(slot):
            before = slot.stored
            if retired:
                self.lines[before.line].retire(slot)
            try:
                stored = self._database.run(lambda tables: tables.recipes.retire(before.line, before.number, retired))
            except DatabaseError:
                slot.stored = before
                raise
            slot.change(stored, None if retired else slot.loaded)

    def configured(self, line: str) -> RecipeSettings:
        """What the configuration says of a line's first recipe."""
        return self._configured[line].recipe

    def camera(self, line: str) -> CameraSettings:
        """The camera of a line."""
        return self._configured[line].camera

    def prepare(self, slot: RecipeSlot) -> None:
        """Has the recipe made ready, soon; returns at once."""
        with self._lock:
            if slot not in self._wanted:
                self._wanted.append(slot)
        self._worker.wake()

    def keep_active(self, slot: RecipeSlot) -> Future[None]:
        """Has it kept on disk that the recipe is its line's active one; returns at once."""
        line, number, name = slot.stored.line, slot.stored.number, slot.stored.name
        kept = self._database.submit(lambda tables: tables.recipes.set_active(line, number))

        def told(done: Future[None]) -> None:
            error = done.exception()
            with self._lock:
                self._unkept.pop(line, None)
                if error is not None:
                    self._unkept[line], self._retry_at = number, monotonic() + _RETRY_S
            if error is None:
                self._alarms.clear("line_settings", line, "recipe")
                return
            message = f"line {line} judges by recipe {name}; a restart would undo that, as it is not on disk: {error}"
            self._alarms.raise_("line_settings", message, line, "recipe")
            self._worker.wake()

        kept.add_done_callback(told)
        return kept

    def _note_ready(self, slot: RecipeSlot) -> None:
        """A recipe was made ready: those whose use is longest ago are let go of."""
        recipes = self.lines[slot.stored.line]
        recipes.note_use(slot)
        recipes.release_older(READY)

    def _make(self, stored: StoredRecipe) -> LoadedRecipe:
        assert self._loader is not None
        assert self._enrolment is not None
        try:
            pack = load_pack(stored.settings.pack)
        except PackError as error:
            raise PackError(
                f"recipe {stored.name} of line {stored.line} judges by the pack {stored.settings.pack}, which cannot "
                f"be loaded: {error}. Bring it back, name another one with `alfa-edge recipe edit`, or go back to what "
                f"is configured with `alfa-edge recipe reset --line {stored.line}`"
            ) from error
        loaded = self._loader.load(stored, pack)
        inspector, batch = loaded.inspector, self._batch
        if batch and inspector not in self._warm:  # else its first part would wait
            self._enrolment.ask(inspector, lambda method: method.warm_up(batch))
            self._warm.add(inspector)
        return loaded if self._bare else self._enrolment.recipe(loaded)

    def _read(self, line: str, settings: LineSettings) -> LineRecipes:
        def read(tables: SettingsTables) -> tuple[tuple[str, ...], list[StoredRecipe], int, StoredShadow | None]:
            _, changed = tables.recipes.take_configured(line, settings.recipe)
            return changed, tables.recipes.of_line(line), tables.recipes.active(line), tables.shadows.running(line)

        changed, stored, active, shadow = self._database.run(read)
        if changed:
            line_log(__name__, line).info(
                "recipe %s takes over what was changed in the configuration: %s", stored[0].name, ", ".join(changed)
            )
        recipes = LineRecipes(line, map(RecipeSlot, stored), active, self)
        recipes.set_shadow(shadow)
        return recipes

    def _work(self) -> float | None:
        """Makes the next recipe ready; the seconds until there is more to do."""
        if self._worker.stopping:
            return None
        with self._lock:
            slot = self._wanted.popleft() if self._wanted else None
            unkept, left_s = dict(self._unkept), self._retry_at - monotonic()
        if slot is not None:
            self._try(slot)
            return 0.0
        if unkept and left_s > 0:
            return left_s
        for line, number in unkept.items():
            active = self.lines[line].active
            if active.stored.number == number:
                self.keep_active(active)
        return _RETRY_S if unkept else None

    def _try(self, slot: RecipeSlot) -> None:
        """Makes a recipe ready; where that cannot be, whoever waits for it is told why."""
        try:
            self.load(slot)
        except Exception as error:  # whatever it is, it costs this recipe only
            if not isinstance(error, (ValueError, RuntimeError)):
                log.exception("recipe %s of line %s", slot.stored.name, slot.stored.line)
            slot.fail(f"{error}")
            line_log(__name__, slot.stored.line).error("recipe %s: %s", slot.stored.name, error)


def changed_settings(settings: RecipeSettings, changes: Mapping[str, Any]) -> RecipeSettings:
    """`settings` with other values.

    Args:
        settings: Of a recipe.
        changes: Values by their names; `health.blur` names one of a table.

    Raises:
        RecipeError: there is no such setting, or a value is not what it takes.
    """
    given = settings.model_dump()
    for name, value in changes.items():
        table, dot, key = name.partition(".")
        inner = given.get(table) or {}
        if dot and not isinstance(inner, dict):
            raise RecipeError(f"{shown(name)}: {table} is no table")
        given[table] = {**inner, key: value} if dot else value
    try:
        return RecipeSettings.model_validate(given)
    except ValidationError as error:
        wrong = next(wrong_settings(error, partial(keys_of, RecipeSettings)))
        raise RecipeError(f"{shown('.'.join(wrong.location))}: {wrong.remedy}") from error
