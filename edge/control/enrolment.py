"""Enrolment: pictures of normal parts become shots of a recipe, which its parts are compared with from the next on."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from core.bank.augment import turns
from core.bank.memory_bank import Shot
from core.bank.shot_checks import Flag, Look, check_shot, look_at
from core.bank.shot_folder import import_shots
from core.bank.tiled_index import left_out
from core.calibration import calibrate, leave_one_out, pixel_threshold
from core.drift import DriftTest
from core.image import Rgb
from core.inspector import AnyInspector
from core.picture_check import ShotFigures, flat
from core.structure import structure_of
from edge.clock import utc_now
from edge.control import provisional
from edge.control.shot_features import ShotFeatures
from edge.control.turns import Turns
from edge.inference import Inference
from edge.messages import Bank
from edge.ops.logs import line_log
from edge.storage.recipe_tables import recipe_of_key
from edge.storage.settings_database import LineCalibration, SettingsDatabase

if TYPE_CHECKING:
    from edge.inspection.line_recipes import LineRecipes, RecipeSlot
    from edge.inspection.recipe import LoadedRecipe

T = TypeVar("T")

_FEW_SHOTS = 8  # the latest ones, whose pictures tell what the others are like: each is decoded at the start
_OTHER_BASIS = (
    "the last calibration was with another pack, model, method, region, tiles or use of shots; calibrate anew"
)


@dataclass(frozen=True)
class Enrolled:
    """What became of a picture: a shot; or none, and what it was flagged for."""

    name: str
    shot: Shot | None
    flags: tuple[Flag, ...]


class Enrolment:
    """Changes the normal shots and the threshold of recipes, in the thread of the command.

    The changes of one recipe are made one after the other; those of others go on meanwhile.
    """

    def __init__(
        self,
        scorer: Inference,
        database: SettingsDatabase,
        lines: Mapping[str, LineRecipes],
    ) -> None:
        """`lines`: the recipes of each line."""
        self._database = database
        self._lines = lines
        self._features = ShotFeatures(scorer, database)
        self._looks: dict[int, Look] = {}
        self._drifts: dict[str, tuple[LineCalibration, float, DriftTest]] = {}
        self._turns = Turns()

    def changing(self, slot: RecipeSlot) -> AbstractContextManager[None]:
        """Keeps the recipe from being changed by another command; waits for its turn.

        Raises:
            LineBusyError: another command has not ended in time.
        """
        return self._turns.of(slot.stored.key)

    def needs_shots(self, slot: RecipeSlot) -> bool:
        """Whether every part is answered with an error until there are shots."""
        recipe = slot.ready
        return recipe.inspector.needs_shots and recipe.index is None

    def recipe(self, recipe: LoadedRecipe) -> LoadedRecipe:
        """`recipe` with its shots and its last calibration, if that is of this pack and all else scores are of.

        Raises:
            BankError: features of a shot are missing or damaged.
        """
        key = recipe.key
        shots, revision, kept = self._database.run(
            lambda tables: (tables.bank.shots(key), tables.bank.revision(key), tables.calibration(key))
        )
        bank = Bank(shots=len(shots), revision=revision)
        basis = self._basis(recipe)
        recipe = replace(recipe, wire=recipe.wire.model_copy(update={"basis": basis}))
        index = self._features.index(recipe, self._features.views(recipe))
        index = self._features.hear(recipe, index, (basis, recipe.wire.pack_sha256))
        sees, size = self._features.sees(recipe.inspector, index), self._features.size(recipe)
        changed = replace(
            recipe,
            index=index,
            bank=bank,
            drift=None,
            sees=sees,
            size=size,
            review_below=None,
            shots=ShotFigures.of([self._look(shot).structure for shot in shots[-_FEW_SHOTS:]]),
        )
        if kept is None:
            return self._uncalibrated(changed)
        if (kept.fingerprint, kept.pack_sha256) != (basis, recipe.wire.pack_sha256):
            return self._uncalibrated(changed, _OTHER_BASIS)
        holds = kept.revision == bank.revision
        wire = recipe.wire.model_copy(
            update={
                "threshold_source": kept.source if holds else f"{kept.source}; the shots have changed since",
                "false_alarm_rate": kept.rate if holds else None,
                "rejected_rate": kept.rejected_rate if holds else None,
                "escape_rate": kept.escape_rate if holds else None,
            }
        )
        drift = self._drift(recipe, kept) if holds else None
        return replace(
            changed,
            threshold=kept.threshold,
            pixel_threshold=kept.pixel_threshold,
            review_below=kept.review_below if holds else None,
            wire=wire,
            provisional=not holds and kept.rate is not None,  # what a person has set stays so
            uncalibrated=False,
            drift=drift,
        )

    def _uncalibrated(self, recipe: LoadedRecipe, note: str = "") -> LoadedRecipe:
        """`recipe` with the configured threshold, or, where that means nothing and there are shots, with theirs."""
        plain = provisional.configured(recipe, note)
        if not plain.provisional or plain.bank.shots < 2:
            return plain
        return provisional.from_shots(plain, self._against_each_other(plain), note)

    def _against_each_other(self, recipe: LoadedRecipe) -> Sequence[tuple[float, float]]:
        """What the recipe's shots score against the others.

        By evidence that is known as soon as there is an index. The paper's way takes a pass for each, so that the
        database keeps the scores: they are made anew only when shots, pack, model, method, region or use of
        shots have changed.
        """
        if recipe.weights:
            return self._left_out(recipe)
        basis = (self._basis(recipe), recipe.wire.pack_sha256, recipe.bank.revision)
        kept = self._database.run(lambda tables: tables.shot_scores(recipe.key, *basis))
        if kept is not None:
            return kept
        scores = tuple(self._left_out(recipe, provisional.MOST_SHOTS))
        self._database.run(lambda tables: tables.keep_shot_scores(recipe.key, *basis, scores))
        return scores

    def _basis(self, recipe: LoadedRecipe) -> str:
        """SHA-256, hexadecimal, of what a recipe's scores depend on besides the pack's file and the shots.

        That is model, method, the texts that the file is rendered to, region and its tiles, and how the shots are used.
        """
        roi, shots = recipe.settings.roi, recipe.settings.shots
        tiles, overlap = recipe.settings.tiles, recipe.settings.overlap
        basis = f"{recipe.inspector.basis} {recipe.texts_sha256} {roi!r} {shots!r}"
        if tiles != (1, 1):  # of one without tiles what was calibrated before there were any still holds
            basis += f" {tiles!r} {overlap!r}"
        return hashlib.sha256(basis.encode()).hexdigest()

    def _drift(self, recipe: LoadedRecipe, kept: LineCalibration) -> DriftTest | None:
        """The test that watches what `kept` promised; it goes on while calibration and expected defects stay."""
        if kept.rate is None or not kept.scores:
            return None
        expected = recipe.settings.expected_defects
        before = self._drifts.get(recipe.key)
        if before is None or before[:2] != (kept, expected):
            test = DriftTest(kept.scores, kept.threshold, kept.rate, expected_defects=expected)
            before = self._drifts[recipe.key] = (kept, expected, test)
        return before[2]

    def enrol(
        self,
        slot: RecipeSlot,
        pictures: Iterable[tuple[str, Rgb]],
        *,
        who: str,
        note: str,
        accepted: Set[str] = frozenset(),
    ) -> list[Enrolled]:
        """Enrols named pictures one by one; one that is flagged only if all its flags are `accepted` ones.

        The recipe has them when this returns.

        Raises:
            DuplicateShotError: a picture is a shot already; those before it are enrolled.
        """
        found: list[Enrolled] = []
        with self.changing(slot):
            try:
                for name, image in pictures:
                    flags, _ = self.check(slot.ready, image)
                    shot = None
                    if all(flag.code in accepted for flag in flags):
                        shot = self._add(slot.ready, image, who=who, source=name, note=note, flags=flags)
                    found.append(Enrolled(name, shot, flags))
            finally:
                self.refresh(slot)
        return found

    def check(self, recipe: LoadedRecipe, image: Rgb) -> tuple[tuple[Flag, ...], float | None]:
        """What speaks against enrolling a picture, and its score; None without a shot to compare it with."""
        settings, shots = recipe.settings, self._database.run(lambda tables: tables.bank.shots(recipe.key))
        others = [self._look(shot) for shot in shots]
        score = self.score(image, recipe)[0] if recipe.index is not None else None
        limit = None if recipe.uncalibrated else recipe.threshold  # which says nothing of good parts
        size = settings.inspected_size or ((shots[0].height, shots[0].width) if shots else None)
        fault = flat(structure_of(image), recipe.shots) if settings.health.flat else None
        return check_shot(image, others, score, limit, turns(settings.shots.augment), size, fault), score

    def _add(self, recipe: LoadedRecipe, image: Rgb, **known: Any) -> Shot:
        """Puts a picture and its features into the bank."""
        features, encoding = self._features.make(recipe, image), self._features.encoding(recipe, image)
        pack = recipe.wire.pack
        return self._database.run(
            lambda tables: tables.bank.add(recipe.key, pack, image, features, encoding, at=utc_now(), **known)
        )

    def remove(self, shot: int, who: str) -> Shot:
        """Puts a shot aside; its recipe goes on without it from the next part on.

        Raises:
            BankError: there is no such active shot.
        """
        return self._change_shot(shot, lambda bank: bank.remove(shot, utc_now(), who))

    def restore(self, shot: int, who: str) -> Shot:
        """Takes a shot back that was put aside.

        Raises:
            BankError: there is no such removed shot, or the same picture is an active one by now.
        """
        return self._change_shot(shot, lambda bank: bank.restore(shot, utc_now(), who))

    def _change_shot(self, shot: int, change: Callable[[Any], Shot]) -> Shot:
        line, number = recipe_of_key(self._database.run(lambda tables: tables.bank.shot(shot)).line)
        if line not in self._lines:
            return self._database.run(lambda tables: change(tables.bank))
        slot = self._lines[line].slot(number)
        with self.changing(slot):
            changed = self._database.run(lambda tables: change(tables.bank))
            self.refresh(slot)
        return changed

    def refresh(self, slot: RecipeSlot) -> None:
        """Has the recipe judge by its shots and its calibration as they are kept now, where it is ready."""
        with self.changing(slot):
            loaded = slot.loaded
            if loaded is not None:
                slot.settle(self.recipe(loaded))

    def ask(self, inspector: AnyInspector, work: Callable[[AnyInspector], T]) -> T:
        """What `work` makes of a method; safe from any thread, and short, as frames wait meanwhile."""
        return self._features.ask(inspector, work)

    def score(self, image: Rgb, recipe: LoadedRecipe) -> tuple[float, float]:
        """S of a picture and the peak of its heatmap, as a line would find them; safe from any thread."""
        tiling = recipe.tiling((image.shape[0], image.shape[1]))
        inspection = self.ask(
            recipe.inspector, lambda inspector: inspector.inspect([image], [recipe.text], [recipe.index], [tiling])[0]
        )
        return inspection.score, float(inspection.patch_map.max())

    def leave_one_out(self, slot: RecipeSlot) -> list[tuple[float, float]]:
        """What each of the recipe's shots scores against the others: S and the peak of the heatmap.

        Raises:
            ValueError: there are fewer than two.
        """
        with self.changing(slot):
            return self._left_out(slot.ready)

    def _left_out(self, recipe: LoadedRecipe, most: int | None = None) -> list[tuple[float, float]]:
        """As `leave_one_out`; only the latest `most` are scored, against all others. The recipe's turn is held."""
        index = recipe.index
        if index is not None and index.weights:
            if recipe.bank.shots < 2:
                raise ValueError(f"leaving one out takes 2 shots or more, not {recipe.bank.shots}; enrol another")
            return self.ask(recipe.inspector, lambda _: left_out(index))
        shots = self._database.run(lambda tables: tables.bank.shots(recipe.key))
        first = max(0, len(shots) - (most or len(shots)))
        found: dict[int, tuple[float, float]] = {}

        def score(place: int, _others: tuple[int, ...]) -> float:
            if place < first:
                return 0.0
            others = self._features.without(recipe, shots[place].id)
            found[place] = self.score(self._features.picture(shots[place].id), replace(recipe, index=others))
            return found[place][0]

        leave_one_out(len(shots), score)
        return [found[place] for place in range(first, len(shots))]

    def shots_left_out(self, recipe: LoadedRecipe) -> list[int]:
        """The numbers of the shots that `leave_one_out` scores, in its order."""
        index = recipe.index
        if index is not None and index.tiles[0].evidence is not None:
            return list(index.tiles[0].evidence.owners)
        return [shot.id for shot in self._database.run(lambda tables: tables.bank.shots(recipe.key))]

    def calibrate(
        self, slot: RecipeSlot, scores: Sequence[tuple[float, float]], rate: float, source: str, who: str
    ) -> LineCalibration:
        """Sets the recipe's thresholds from what normal parts score (S and the heatmap's peak), and keeps them.

        Raises:
            ValueError: no scores, a rate outside (0, 1), or good parts that score 1: a threshold is 1 at most, where
                they alarm.
        """
        image = calibrate([score for score, _ in scores], rate)
        if image.threshold > 1:
            share = sum(score == 1 for score, _ in scores) / len(scores)
            raise ValueError(
                f"line {slot.stored.line}: {100 * share:.3g} % of the good parts score 1, the most that any part can, "
                f"so that no threshold promises {100 * image.rate:.3g} %; enrol more good parts that differ, or take "
                "another pack"
            )
        pixel = pixel_threshold([peak for _, peak in scores], rate)
        worth = f", which count as {image.effective:.3g} independent ones" if image.effective < image.count else ""
        words = f"{100 * image.rate:.3g} % false alarms, from {image.count} {source}{worth}"
        return self._keep(
            slot, (image.threshold, min(1.0, pixel)), image.rate, tuple(score for score, _ in scores), words, who
        )

    def take_calibration(self, slot: RecipeSlot, calibration: LineCalibration, who: str) -> None:
        """Keeps a calibration of elsewhere as the recipe's last one.

        It counts where model, method, pack, region and use of shots are the same as there, and with a `revision` of 0
        the shots, too; else the recipe says that they are not.
        """
        key = slot.stored.key
        with self.changing(slot):
            revision = self._database.run(lambda tables: tables.bank.revision(key))
            taken = replace(calibration, revision=revision if calibration.revision == 0 else -1)
            self._database.run(lambda tables: tables.calibrate(key, taken, who))
            self._drifts.pop(key, None)
            self.refresh(slot)

    def set_threshold(self, slot: RecipeSlot, threshold: float, who: str) -> LineCalibration:
        """Sets the recipe's threshold by hand; it promises nothing."""
        return self._keep(slot, (threshold, threshold), None, (), f"set by {who}", who)

    def calibration(self, recipe: LoadedRecipe) -> LineCalibration | None:
        """The recipe's last calibration on good parts, if it holds for all that parts are judged by now."""
        kept = self._database.run(lambda tables: tables.calibration(recipe.key))
        if kept is None or kept.rate is None or not kept.scores:
            return None
        now = (self._basis(recipe), recipe.wire.pack_sha256, recipe.bank.revision)
        return kept if (kept.fingerprint, kept.pack_sha256, kept.revision) == now else None

    def keep(self, slot: RecipeSlot, calibration: LineCalibration, who: str) -> None:
        """Keeps a calibration as the recipe's last one, and has it judge by that."""
        key = slot.stored.key
        with self.changing(slot):
            self._database.run(lambda tables: tables.calibrate(key, calibration, who))
            self._drifts.pop(key, None)  # it may be equal to the last one, from the same shots
            self.refresh(slot)

    def _keep(
        self,
        slot: RecipeSlot,
        thresholds: tuple[float, float],
        rate: float | None,
        scores: tuple[float, ...],
        source: str,
        who: str,
    ) -> LineCalibration:
        with self.changing(slot):
            recipe = slot.ready
            calibration = LineCalibration(
                *thresholds,
                rate=rate,
                count=len(scores),
                scores=scores,
                source=source,
                fingerprint=self._basis(recipe),
                pack_sha256=recipe.wire.pack_sha256,
                revision=self._database.run(lambda tables: tables.bank.revision(recipe.key)),
            )
            self.keep(slot, calibration, who)
        return calibration

    def import_folder(self, slot: RecipeSlot, folder: Path, who: str) -> list[Shot]:
        """Enrols what `shots export` wrote. The recipe has it when this returns; what it holds already is passed over.

        Raises:
            BankError: the folder is no export, or was altered.
        """
        line_log(__name__, slot.stored.line).info("shots from %s", folder)
        with self.changing(slot):
            recipe = slot.ready
            try:
                return import_shots(
                    _BankInItsThread(self._database),
                    folder,
                    recipe.key,
                    lambda image: self._features.encoding(recipe, image),
                    lambda image: self._features.make(recipe, image),
                    at=utc_now(),
                    who=who,
                )
            finally:
                self.refresh(slot)

    def embed_missing(self, slot: RecipeSlot) -> list[Shot]:
        """Makes the features of shots that have none of this model, or damaged ones, anew; they are then used."""
        with self.changing(slot):
            made = self._features.embed_missing(slot.ready)
            self.refresh(slot)
        return made

    def _look(self, shot: Shot) -> Look:
        """What a new shot is compared with; a shot's picture never changes, and is decoded once."""
        if shot.id not in self._looks:
            self._looks[shot.id] = look_at(self._features.picture(shot.id), f"shot {shot.id}")
        return self._looks[shot.id]


class _BankInItsThread:
    """The bank for an import: each call is a job of its own, so that the database is free in between."""

    def __init__(self, database: SettingsDatabase) -> None:
        self._database = database

    def shots(self, line: str) -> list[Shot]:
        return self._database.run(lambda tables: tables.bank.shots(line))

    def add(self, *arguments: Any, **named: Any) -> Shot:
        return self._database.run(lambda tables: tables.bank.add(*arguments, **named))
