"""Judges a line's parts a second time, by the recipe of its shadow, in time that no part needs."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from concurrent.futures import Future
from functools import partial
from types import MappingProxyType

from core.image import Rgb
from edge.inference import Inference, InferenceStoppedError, Scored
from edge.inspection.line_recipes import LineRecipes
from edge.inspection.recipe import LoadedRecipe
from edge.inspection.verdict import answer_of
from edge.messages import Verdict
from edge.storage.shadow_verdicts import ShadowVerdict, ShadowVerdictWriter

OUTCOMES = ("judged", "passed_over", "failed", "unkept")
"""What becomes of a part that the line has judged: the shadow has judged it; it had no time for it, or was not ready;
its pass has failed; the disk has not taken what it says."""
NOTHING: Mapping[str, int] = MappingProxyType(dict.fromkeys(OUTCOMES, 0))
"""The counts of a line that does not run."""


class Shadow:
    """Of one line. It is handed parts that have their answer, and neither answers nor holds up any.

    Any thread may call it.
    """

    WAITING = 4
    """Parts that may wait for it; of more the newest are passed over, so that memory is bounded."""

    def __init__(self, line: str, recipes: LineRecipes, inference: Inference, writer: ShadowVerdictWriter) -> None:
        """`recipes` say whether the line has a shadow, and which."""
        self._line = line
        self._recipes = recipes
        self._inference = inference
        self._writer = writer
        self._lock = threading.Lock()  # guards what follows
        self._counts = dict(NOTHING)
        self._waiting = 0
        self._fault: str | None = None

    @property
    def counts(self) -> dict[str, int]:
        """How many parts came to what, of `OUTCOMES`, since the service started."""
        with self._lock:
            return dict(self._counts)

    @property
    def trouble(self) -> str | None:
        """Why the line's shadow judges nothing, in words; None: it does, or there is none."""
        shadow = self._recipes.shadow
        if shadow is None:
            return None
        fault = shadow.slot.failure or self._fault
        return fault and f"recipe {shadow.slot.stored.name}: {fault}"

    def judge(self, verdict: Verdict, image: Rgb, recipe: LoadedRecipe) -> None:
        """Hands over a part; returns at once.

        Args:
            verdict: The part's, which is on disk.
            image: The inspected region, which must stay as it is.
            recipe: What it was judged by.
        """
        shadow = self._recipes.shadow
        if shadow is None or verdict.recipe.number != shadow.stored.beside or verdict.seq < shadow.stored.first_seq:
            return
        loaded = shadow.slot.loaded
        if loaded is None and shadow.slot.failure is None:
            self._recipes.prepare(shadow.slot)
        if loaded is None or loaded.settings.roi != recipe.settings.roi:
            self._count("passed_over")
            return
        tiling = loaded.tiling((image.shape[0], image.shape[1]))
        if not self._admit():
            self._count("passed_over")
            return
        try:
            scored = self._inference.submit_spare(
                loaded.inspector,
                image,
                loaded.text,
                loaded.index,
                line=self._line,
                tiling=tiling,
                threshold=loaded.threshold,
            )
        except InferenceStoppedError:
            self._end("passed_over")
        else:
            scored.add_done_callback(partial(self._take, shadow.stored.id, verdict.seq, loaded))

    def _admit(self) -> bool:
        with self._lock:
            admitted = self._waiting < self.WAITING
            self._waiting += admitted
            return admitted

    def _take(self, shadow: int, seq: int, recipe: LoadedRecipe, scored: Future[Scored]) -> None:
        """What the recipe says of a part; in the inference's thread, so that nothing waits."""
        error = scored.exception()
        if isinstance(error, InferenceStoppedError):
            self._end("passed_over")
            return
        if error is not None:
            self._end("failed", f"{type(error).__name__}: {error}")
            return
        inspection = scored.result().inspection
        revision = recipe.wire.revision or 1
        answer = answer_of(inspection, recipe)
        kept = self._writer.keep(
            ShadowVerdict(shadow, self._line, seq, revision, inspection.score, recipe.threshold, answer)
        )
        self._end("judged" if kept else "unkept")

    def _end(self, outcome: str, fault: str | None = None) -> None:
        with self._lock:
            self._waiting -= 1
            self._counts[outcome] += 1
            self._fault = fault

    def _count(self, outcome: str) -> None:
        with self._lock:
            self._counts[outcome] += 1
