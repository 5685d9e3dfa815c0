"""The threshold of a recipe that is not calibrated: the configured one, or one that its shots give."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from core.calibration import UNCALIBRATED, pixel_threshold, provisional_threshold

if TYPE_CHECKING:
    from edge.inspection.recipe import LoadedRecipe
    from edge.settings_recipe import RecipeSettings

MOST_SHOTS = 8
"""So many shots at most are scored for a threshold: each costs a pass whenever the shots change."""


def thresholds(settings: RecipeSettings) -> tuple[float, float]:
    """The configured threshold of the image, and that of regions."""
    pixel = settings.threshold if settings.pixel_threshold is None else settings.pixel_threshold
    return settings.threshold, pixel


def is_provisional(settings: RecipeSettings) -> bool:
    """Whether nobody has said where the configured threshold comes from."""
    return settings.threshold_source == UNCALIBRATED


def configured(recipe: LoadedRecipe, note: str = "") -> LoadedRecipe:
    """`recipe` with the configured threshold; `note` is what there is to say of it besides its source."""
    settings = recipe.settings
    threshold, pixel = thresholds(settings)
    source = f"{settings.threshold_source}; {note}" if note else settings.threshold_source
    wire = recipe.wire.model_copy(update={"threshold_source": source, "false_alarm_rate": None})
    return replace(
        recipe,
        threshold=threshold,
        pixel_threshold=pixel,
        wire=wire,
        provisional=is_provisional(settings),
        uncalibrated=is_provisional(settings),
    )


def from_shots(recipe: LoadedRecipe, scores: Sequence[tuple[float, float]], note: str = "") -> LoadedRecipe:
    """`recipe` with a provisional threshold from its shots.

    Args:
        recipe: What the line judges by.
        scores: S and the heatmap's peak of one shot or more, each against the others.
        note: As of `configured`.
    """
    shots = recipe.bank.shots
    count = f"{shots}" if len(scores) == shots else f"{len(scores)} of {shots}"
    source = f"provisional: from {count} shots, each against the others"
    wire = recipe.wire.model_copy(
        update={"threshold_source": f"{source}; {note}" if note else source, "false_alarm_rate": None}
    )
    peaks = [peak for _, peak in scores]
    return replace(
        recipe,
        threshold=provisional_threshold([score for score, _ in scores]),
        pixel_threshold=min(1.0, pixel_threshold(peaks, 1 / (len(peaks) + 1))),  # just above the largest
        wire=wire,
        provisional=True,
        uncalibrated=True,
    )
