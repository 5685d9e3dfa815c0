"""Enrolment: pictures of normal parts become shots that the line compares its parts with from the next frame on."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from core.alfa import Alfa
from core.augment import augment, turns, variants
from core.bank import FeaturesOfOthersError, Shot
from core.calibration import calibrate, leave_one_out, pixel_threshold
from core.drift import DriftTest
from core.encoding import Encoding, encoding_of
from core.image import Rgb
from core.memory import Index, Memory
from core.shot_checks import Flag, Look, check_shot, look_at
from core.shot_folder import import_shots
from edge.clock import utc_now
from edge.control import provisional
from edge.inference import Inference
from edge.messages import Bank
from edge.settings import LineSettings
from edge.storage.settings_database import LineCalibration, State

if TYPE_CHECKING:
    from edge.inspection.judge import Judge
    from edge.inspection.recipe import LoadedRecipe

log = logging.getLogger(__name__)

T = TypeVar("T")

_OTHER_BASIS = "the last calibration was with another pack, model, method, region or use of shots; calibrate anew"


@dataclass(frozen=True)
class Enrolled:
    """What became of a picture: a shot; or none, and what it was flagged for."""

    name: str
    shot: Shot | None
    flags: tuple[Flag, ...]


class Enrolment:
    """Changes the normal shots and the threshold of running lines. All but `scores` is for the state's thread."""

    def __init__(self, alfa: Alfa, scorer: Inference, lines: Mapping[str, Judge], settings: Mapping[str, LineSettings]):
        self._alfa = alfa
        self._scorer = scorer
        self._lines = lines
        self._settings = settings
        self._looks: dict[int, Look] = {}
        self._drifts: dict[str, tuple[LineCalibration, DriftTest]] = {}

    @property
    def fingerprint(self) -> str:
        """Of the model."""
        return self._alfa.backbone.fingerprint

    def needs_shots(self, line: str) -> bool:
        """Whether the line answers every part with an error until it has shots: without windows there is no map."""
        return self._alfa.method.windows == "none" and self._lines[line].recipe.index is None

    def recipe(self, state: State, line: str, recipe: LoadedRecipe) -> LoadedRecipe:
        """`recipe` with the line's shots and its last calibration, if that is of this pack and all else scores are of.

        Raises:
            BankError: features of a shot are missing or damaged.
        """
        bank = Bank(shots=len(state.bank.shots(line)), revision=state.bank.revision(line))
        index = self._heard(state, line, recipe, self._index(state, line, self._memories(state, line)))
        changed = replace(recipe, index=index, bank=bank, drift=None)
        kept = state.calibration(line)
        if kept is None:
            return self._uncalibrated(state, line, changed)
        if (kept.fingerprint, kept.pack_sha256) != (self._basis(line), recipe.wire.pack_sha256):
            return self._uncalibrated(state, line, changed, _OTHER_BASIS)
        holds = kept.revision == bank.revision
        wire = recipe.wire.model_copy(
            update={
                "threshold_source": kept.source if holds else f"{kept.source}; the shots have changed since",
                "false_alarm_rate": kept.rate if holds else None,
            }
        )
        drift = self._drift(line, kept) if holds else None
        return replace(
            changed,
            threshold=kept.threshold,
            pixel_threshold=kept.pixel_threshold,
            wire=wire,
            provisional=not holds and kept.rate is not None,  # what a person has set stays so
            from_shots=False,
            drift=drift,
        )

    def _uncalibrated(self, state: State, line: str, recipe: LoadedRecipe, note: str = "") -> LoadedRecipe:
        """`recipe` with the configured threshold, or, where that means nothing and there are shots, with theirs."""
        plain = provisional.configured(recipe, self._settings[line], note)
        if not plain.provisional or plain.bank.shots < 2:
            return plain
        return provisional.from_shots(plain, self._against_each_other(state, line, plain), note)

    def _against_each_other(self, state: State, line: str, recipe: LoadedRecipe) -> Sequence[tuple[float, float]]:
        """What the line's shots score against the others.

        By evidence that is known as soon as there is an index. The paper's way takes a pass for each, so that the state
        keeps the scores: they are made anew only when shots, pack, model, method, region or use of
        shots have changed.
        """
        if recipe.index is not None and recipe.index.evidence is not None:
            return self.leave_one_out(state, line, recipe)
        basis = (self._basis(line), recipe.wire.pack_sha256, recipe.bank.revision)
        scores = state.shot_scores(line, *basis)
        if scores is None:
            scores = tuple(self.leave_one_out(state, line, recipe, provisional.MOST_SHOTS))
            state.keep_shot_scores(line, *basis, scores)
        return scores

    def _memories(self, state: State, line: str) -> list[tuple[Shot, int, Memory]]:
        """The features of the line's shots: those that others made, or that are not there, are made anew first.

        So are those of shots that lack a view that the line's settings want; views that they do not are left out.
        """
        encoding = self._encoding(state, line)
        wanted = set(variants(self._settings[line].shots.augment))
        try:
            found = state.bank.memory(line, encoding)
            if len([one for one in found if one[1] in wanted]) == len(wanted) * len({shot.id for shot, _, _ in found}):
                return [one for one in found if one[1] in wanted]
            log.info("line %s: views of shots are made from their pictures", line)
        except FeaturesOfOthersError as error:
            log.warning("line %s: features are made anew from the shots' pictures: %s", line, error)
        self.embed_missing(state, line)
        return [one for one in state.bank.memory(line, encoding) if one[1] in wanted]

    def _encoding(self, state: State, line: str, image: Rgb | None = None) -> Encoding:
        """What the line's features are made by; for a line that has no shot yet, those of `image`."""
        return encoding_of(self._alfa, self._shape(state, line, image))

    def _shape(self, state: State, line: str, image: Rgb | None = None) -> tuple[int, int] | None:
        """Height and width of the pictures that the line's feature maps are made for."""
        shape = state.bank.shape(line)
        if shape is None and image is not None:
            shape = (image.shape[0], image.shape[1])
        return shape

    def _heard(self, state: State, line: str, recipe: LoadedRecipe, index: Index | None) -> Index | None:
        """`index` with what the text side says of the shots; the state keeps that, as each takes a pass."""
        if index is None or index.evidence is None:
            return index
        basis = (self._basis(line), recipe.wire.pack_sha256)
        texts = []
        for shot in index.evidence.owners:
            found = state.shot_texts(shot, *basis)
            if found is None:
                image = state.bank.image(shot)
                found = self._scorer.ask(partial(Alfa.text_scores, frame=image, text=recipe.text)).result()
                state.keep_shot_texts(shot, *basis, found)
            texts.append(found)
        return self._alfa.hear(index, texts)

    def _basis(self, line: str) -> str:
        """SHA-256, hexadecimal, of what a line's scores depend on besides pack and shots.

        That is model, method, region, and how the shots are used.
        """
        roi, shots = self._settings[line].roi, self._settings[line].shots
        tower = None if self._alfa.tower is None else self._alfa.tower.fingerprint
        basis = f"{self._alfa.backbone.fingerprint} {tower} {self._alfa.method!r} {roi!r} {shots!r}"
        return hashlib.sha256(basis.encode()).hexdigest()

    def _drift(self, line: str, kept: LineCalibration) -> DriftTest | None:
        """The test that watches what `kept` promised; it goes on while that is the line's calibration."""
        if kept.rate is None or not kept.scores:
            return None
        before = self._drifts.get(line)
        if before is None or before[0] != kept:
            expected = self._settings[line].expected_defects
            test = DriftTest(kept.scores, kept.threshold, kept.rate, expected_defects=expected)
            before = self._drifts[line] = (kept, test)
        return before[1]

    def enrol(
        self,
        state: State,
        line: str,
        pictures: Sequence[tuple[str, Rgb]],
        *,
        who: str,
        note: str,
        sure: bool,
        accepted: Set[str] = frozenset(),
    ) -> list[Enrolled]:
        """Enrols named pictures one by one; one that is flagged only if `sure`, or if the flags are `accepted` ones.

        The line uses them when this returns.

        Raises:
            DuplicateShotError: a picture is a shot already; those before it are enrolled.
        """
        found: list[Enrolled] = []
        try:
            for name, image in pictures:
                recipe = self._lines[line].recipe
                others = [self._look(state, shot) for shot in state.bank.shots(line)]
                score = self.score(image, recipe)[0] if recipe.index is not None else None
                # Of few shots many a good part is above the rest.
                limit = self._settings[line].threshold if recipe.from_shots else recipe.threshold
                covered = turns(self._settings[line].shots.augment)
                flags = check_shot(image, others, score, limit, covered)
                shot = None
                if sure or all(flag.code in accepted for flag in flags):
                    shot = state.bank.add(
                        line,
                        recipe.wire.pack,
                        image,
                        self._features(state, line, image),
                        self._encoding(state, line, image),
                        at=utc_now(),
                        who=who,
                        source=name,
                        note=note,
                        flags=flags,
                    )
                found.append(Enrolled(name, shot, flags))
        finally:
            self.refresh(state, line)
        return found

    def refresh(self, state: State, line: str) -> None:
        """Has the line judge by the shots and the calibration as they are in the state now, from its next frame on."""
        self.change(state, line, self._lines[line].recipe)

    def change(self, state: State, line: str, recipe: LoadedRecipe) -> None:
        """Has the line judge by `recipe` with its shots and its calibration, from its next frame on."""
        self._lines[line].change_recipe(self.recipe(state, line, recipe))

    def ask(self, work: Callable[[Alfa], T]) -> T:
        """What `work` makes of the method; safe from any thread, and short, as frames wait meanwhile."""
        return self._scorer.ask(work).result()

    def score(self, image: Rgb, recipe: LoadedRecipe) -> tuple[float, float]:
        """S of a picture and the peak of its heatmap, as the line would find them; safe from any thread."""
        seen = self._scorer.ask(lambda alfa: alfa.inspect([image], [recipe.text], [recipe.index])[0]).result()
        return seen.score, float(seen.patch_map.max())

    def leave_one_out(
        self, state: State, line: str, recipe: LoadedRecipe | None = None, most: int | None = None
    ) -> list[tuple[float, float]]:
        """What each of the line's shots scores against the others: S and the peak of the heatmap.

        Args:
            state: The state.
            line: Its name.
            recipe: Whose prompts are used; by default the line's own, of now.
            most: Only the latest so many are scored, against all others.

        Raises:
            ValueError: there are fewer than two.
        """
        recipe = recipe or self._lines[line].recipe
        if recipe.index is not None and recipe.index.evidence is not None:
            if recipe.bank.shots < 2:
                raise ValueError(f"leaving one out takes 2 shots or more, not {recipe.bank.shots}; enrol another")
            scores, maps = recipe.index.evidence.shots()
            return list(zip(scores.tolist(), maps.amax((1, 2)).tolist(), strict=True))
        kept = self._memories(state, line)
        shots = state.bank.shots(line)
        found: dict[int, tuple[float, float]] = {}

        first = max(0, len(shots) - (most or len(shots)))

        def one(place: int, others: tuple[int, ...]) -> float:
            if place < first:
                return 0.0
            near = {shots[other].id for other in others}
            index = self._index(state, line, [one for one in kept if one[0].id in near])
            found[place] = self.score(state.bank.image(shots[place].id), replace(recipe, index=index))
            return found[place][0]

        leave_one_out(len(shots), one)
        return [found[place] for place in range(first, len(shots))]

    def calibrate(
        self, state: State, line: str, scores: Sequence[tuple[float, float]], rate: float, source: str, who: str
    ) -> LineCalibration:
        """Sets the line's thresholds from what normal parts score (S and the heatmap's peak), and keeps them.

        Raises:
            ValueError: no scores, or a rate outside (0, 1).
        """
        recipe = self._lines[line].recipe
        image = calibrate([score for score, _ in scores], rate)
        pixel = pixel_threshold([peak for _, peak in scores], rate)
        words = f"{100 * image.rate:.3g} % false alarms, from {image.count} {source}"
        thresholds = min(1.0, image.threshold), min(1.0, pixel)
        return self._keep(state, line, recipe, thresholds, image.rate, tuple(score for score, _ in scores), words, who)

    def set_threshold(self, state: State, line: str, threshold: float, who: str) -> LineCalibration:
        """Sets the line's threshold by hand; it promises nothing."""
        recipe = self._lines[line].recipe
        return self._keep(state, line, recipe, (threshold, threshold), None, (), f"set by {who}", who)

    def _keep(
        self,
        state: State,
        line: str,
        recipe: LoadedRecipe,
        thresholds: tuple[float, float],
        rate: float | None,
        scores: tuple[float, ...],
        source: str,
        who: str,
    ) -> LineCalibration:
        calibration = LineCalibration(
            *thresholds,
            rate=rate,
            count=len(scores),
            scores=scores,
            source=source,
            fingerprint=self._basis(line),
            pack_sha256=recipe.wire.pack_sha256,
            revision=state.bank.revision(line),
        )
        state.calibrate(line, calibration, who)
        self._drifts.pop(line, None)  # it may be equal to the last one, from the same shots
        self.refresh(state, line)
        return calibration

    def import_folder(self, state: State, line: str, folder: Path, who: str) -> list[Shot]:
        """Enrols what `shots export` wrote. The line uses it when this returns; what it holds already is passed over.

        Raises:
            BankError: the folder is no export, or was altered.
        """
        pack = self._lines[line].recipe.wire.pack
        log.info("line %s (%s): shots from %s", line, pack, folder)
        try:
            return import_shots(
                state.bank,
                folder,
                line,
                lambda image: self._encoding(state, line, image),
                lambda image: self._features(state, line, image),
                at=utc_now(),
                who=who,
            )
        finally:
            self.refresh(state, line)

    def embed_missing(self, state: State, line: str) -> list[Shot]:
        """Makes the features of shots that have none of this model, or damaged ones, anew from the kept pictures."""
        encoding = self._encoding(state, line)
        missing = state.bank.missing(line, encoding, variants(self._settings[line].shots.augment))
        for shot in missing:
            state.bank.embed(shot.id, self._features(state, line, state.bank.image(shot.id)), encoding)
        return missing

    def _look(self, state: State, shot: Shot) -> Look:
        """What a new shot is compared with; a shot's picture never changes, and is decoded once."""
        if shot.id not in self._looks:
            self._looks[shot.id] = look_at(state.bank.image(shot.id), f"shot {shot.id}")
        return self._looks[shot.id]

    def _index(self, state: State, line: str, kept: Sequence[tuple[Shot, int, Memory]]) -> Index | None:
        shape = self._shape(state, line)
        if not kept or shape is None:
            return None
        memories, owners = [memory for _, _, memory in kept], [shot.id for shot, _, _ in kept]
        return self._alfa.index(memories, owners, shape, limit=self._settings[line].shots.limit)

    def _features(self, state: State, line: str, image: Rgb) -> dict[int, Memory]:
        """Of the picture and, as the line's settings want, of it turned and mirrored; on the CPU."""
        shape = self._shape(state, line, image)
        found = {}
        for variant in variants(self._settings[line].shots.augment):  # one by one: frames wait meanwhile
            view = augment(image, variant)
            found[variant] = self._scorer.ask(partial(Alfa.remember, frame=view, shape=shape)).result()
        return found
