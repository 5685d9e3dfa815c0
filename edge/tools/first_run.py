"""The guided start of a line: of good parts the most different ones are enrolled, the rest set the threshold."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import cv2
import numpy as np
import torch

from core.bank.mutual import mutual, suggest
from core.bank.scorers import top_mean
from core.bank.shot_checks import FLAGS, Look, check_shot, look_at
from core.calibration import calibrate, fewest
from core.image import Rgb
from edge.control.calibrate_commands import acceptable
from edge.control.dispatcher import CommandError, Dispatcher
from edge.control.enrolment import Enrolled
from edge.control.kept_pictures import KeptPictures
from edge.inspection.line_recipes import RecipeSlot
from edge.storage.settings_database import LineCalibration

PARTS = 24
"""Good parts in all: 4 that are enrolled, and 20 for a threshold, of which 19 suffice for a rate of 5 %."""
SHOTS = 4
RATE = 0.05
EMPTY = "the camera shows an empty scene: put a good part under it"
ALIKE = "the parts look all the same: is the line moving?"
_SIDE = 256  # pixels, as the model sees of a frame
_BLUR = 2.0  # pixels of these: a sensor's noise averages out
_FLAT = 1.5
"""Grey levels (standard deviation) that a picture of something has when it is blurred. The plainest simulated part, a
painted panel, has 3.7; noise of 8 levels a pixel on nothing leaves 0.8."""
_RANKED = 64  # parts are compared with each other, at a cost that grows with their square; of more, evenly spread ones
_FEW = 3  # so many are needed before they can look all the same


class FirstRunError(CommandError):
    """The guided start cannot go on; the message says why, and what to do."""


@dataclass(frozen=True)
class Learned:
    """What became of the good parts.

    Attributes:
        pictures: Those that were enrolled, and their flags.
        calibration: From the rest.
        notes: What there is to say of the pictures, a sentence each.
    """

    pictures: list[Enrolled]
    calibration: LineCalibration
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Ranked:
    """Parts as the mutual scorer sees them.

    Attributes:
        order: The half of them that is most typical: the most typical one, then those most unlike it.
        unlike: How unlike the others each part is.
    """

    order: list[int]
    unlike: list[float]


class Guide:
    """Collects good parts: refuses empty scenes, and says how far it is."""

    def __init__(self, parts: int) -> None:
        self.wanted = parts
        self.kept = KeptPictures()
        self.empty = 0
        """Pictures that were refused."""
        self._looks: list[Look] = []
        self._different = False

    def show(self, name: str, image: Rgb) -> str:
        """Takes a picture, or refuses it; says what a person is to do next."""
        if is_empty(image):
            self.empty += 1
            return EMPTY
        if not self._different:
            look = look_at(image, name)
            self._different = bool(self._looks) and not _same(image, self._looks)
            self._looks.append(look)
        self.kept.append(name, image)
        return self.words()

    def words(self) -> str:
        """How far it is."""
        words = f"show it good parts: {len(self.kept)} of {self.wanted}"
        return f"{words}; {ALIKE}" if self.alike else words

    @property
    def full(self) -> bool:
        """Whether there are as many as wanted."""
        return len(self.kept) >= self.wanted

    @property
    def alike(self) -> bool:
        """Whether a few parts were shown, and no two of them differ."""
        return len(self.kept) >= _FEW and not self._different

    def notes(self) -> tuple[str, ...]:
        """What there is to say of what was shown."""
        notes = []
        if self.empty:
            notes.append(f"{self.empty} pictures of an empty scene are left out")
        if self.alike:
            notes.append(f"{ALIKE} What was learned holds for this picture alone")
        return tuple(notes)


def is_empty(image: Rgb) -> bool:
    """Whether a picture uint8 [H, W, 3] shows nothing: it is uniform but for noise.

    It cannot tell a part from a mat, a belt or a shadow that has structure of its own.
    """
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    height, width = grey.shape
    scale = min(1.0, _SIDE / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = cv2.resize(grey, size, interpolation=cv2.INTER_AREA).astype(np.float32)
    return float(cv2.GaussianBlur(small, (0, 0), _BLUR).std()) < _FLAT


def least(rate: float, shots: int = SHOTS) -> int:
    """Good parts that it takes to enrol `shots` and to promise `rate`."""
    return shots + fewest(rate)


def check_count(count: int, rate: float, accept: float | None, what: str) -> None:
    """Raises FirstRunError: `count` of `what` are too few, and what they can promise is more than is accepted."""
    needed = least(rate)
    if count <= SHOTS:
        raise FirstRunError(f"{count} {what} are too few: {SHOTS} are enrolled, and one more at least is needed")
    promised = max(rate, 1 / max(1, count - SHOTS + 1))
    if promised > rate and (accept is None or promised > accept):
        can = f"{100 * promised:.3g} %"
        raise FirstRunError(
            f"{count} {what} promise {can}, not {100 * rate:.3g} %: {needed} are needed, {SHOTS} to enrol and "
            f"{needed - SHOTS} for the threshold; show it {needed - count} more, or accept {can} with "
            f"--accept {acceptable(promised)}"
        )


def rank(
    dispatcher: Dispatcher,
    slot: RecipeSlot,
    images: Sequence[Rgb],
    progress: Callable[[str], None] = lambda _words: None,
) -> Ranked:
    """Which of some unlabelled parts to propose as shots: the most typical one, then the most different ones.

    Only the half that is most typical is looked at, as what is unlike all others may be a defect. The others stay
    for the threshold, which would promise too much if the extreme parts were taken out of its sample.

    Raises:
        ValueError: there are fewer than two.
    """
    inspector = slot.ready.inspector
    maps, wholes = [], []
    for place, image in enumerate(images):
        progress(f"looking at good parts: {place + 1} of {len(images)}")
        patches = dispatcher.enrolment.ask(inspector, partial(type(inspector).patches, frame=image))
        maps.append(patches)
        wholes.append(patches.mean((0, 1)))
    unlike = top_mean(mutual(torch.stack(maps)))
    order = suggest(unlike, torch.stack(wholes), (len(images) + 1) // 2)
    return Ranked(order, [float(one) for one in unlike])


def choose(images: Sequence[Rgb], order: Sequence[int], count: int = SHOTS) -> list[int]:
    """The first `count` of `order` whose pictures are neither blurred, nor badly exposed, nor much like another's.

    A part is held against all others, as is fair where there is no shot yet. The first of `order` is taken if none is
    without a flag.
    """
    looks = [look_at(image) for image in images]
    taken: list[int] = []
    for one in order:
        others = [look for place, look in enumerate(looks) if place != one]
        flags = {flag.code for flag in check_shot(images[one], others)} - {"near_duplicate"}
        if not flags and not _same(images[one], [looks[place] for place in taken]):
            taken.append(one)
        if len(taken) == count:
            break
    return taken or [order[0]]


def learn(
    dispatcher: Dispatcher,
    slot: RecipeSlot,
    guide: Guide,
    *,
    rate: float,
    who: str,
    progress: Callable[[str], None] = lambda _words: None,
    check: Callable[[], None] = lambda: None,
) -> Learned:
    """Enrols the most different ones of the guide's parts, and calibrates on the rest.

    `check` raises where the parts are not of what the recipe judges by.

    Raises:
        FirstRunError: the shots, or what the recipe judges by, changed meanwhile.
        ValueError: the guide has fewer than two parts.
    """
    refuse_taught(slot)
    count = min(len(guide.kept), _RANKED)
    looked_at = [place * len(guide.kept) // count for place in range(count)]
    few = guide.kept.images(looked_at)
    chosen = [looked_at[place] for place in choose(few, rank(dispatcher, slot, few, progress).order)]
    enrolment = dispatcher.enrolment
    with enrolment.changing(slot):
        check()
        refuse_taught(slot)
        shots = (guide.kept[place] for place in chosen)
        found = enrolment.enrol(slot, shots, who=who, note="first run", accepted=set(FLAGS))
    recipe = slot.ready
    rest = guide.kept.images([place for place in range(len(guide.kept)) if place not in chosen])
    scores = []
    for place, image in enumerate(rest):
        progress(f"setting the threshold: good part {place + 1} of {len(rest)}")
        scores.append(enrolment.score(image, recipe))
    with enrolment.changing(slot):
        if slot.ready.scores_are_of != recipe.scores_are_of:
            raise FirstRunError(
                f"the shots, or what recipe {slot.stored.name} of line {slot.stored.line} judges by, changed "
                "meanwhile; calibrate it anew"
            )
        try:
            kept = enrolment.calibrate(slot, scores, rate, "good parts of the first run", who)
        except ValueError as error:
            for enrolled in found:  # so that the first run can be repeated
                if enrolled.shot is not None:
                    enrolment.remove(enrolled.shot.id, who)
            raise FirstRunError(f"{error}; the shots of this first run are put aside again") from error
    worth = calibrate([score for score, _ in scores], rate)
    alike = worth.effective < worth.count and worth.note  # else `check_count` has asked
    notes = guide.notes() + ((f"{worth.note}: `alfa-edge calibrate` takes more of them",) if alike else ())
    return Learned(found, kept, notes)


def refuse_taught(slot: RecipeSlot) -> None:
    """Raises FirstRunError: the recipe has shots, so that this is not its first run."""
    if shots := slot.ready.bank.shots:
        raise FirstRunError(
            f"line {slot.stored.line} has {shots} shots already, and a first run is for a line without: put them "
            "aside with `alfa-edge shots remove`, or go on with `alfa-edge enroll` and `alfa-edge calibrate`"
        )


def _same(image: Rgb, looks: Sequence[Look]) -> bool:
    return any(flag.code == "near_duplicate" for flag in check_shot(image, looks))
