"""From what was found in a part to the verdict on it. Asks neither camera nor clock."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from core.explain import describe, reasons
from core.regions import Region as MapRegion
from core.regions import find_regions
from edge import topics
from edge.inspection.recipe import LoadedRecipe
from edge.inspection.request import InspectionRequest
from edge.messages import CameraFrame, Fault, Heatmap, Reason, Region, Scores, Timing, Verdict

if TYPE_CHECKING:
    from core.inspection import Inspection
    from edge.camera.frame import Frame
    from edge.inference import Scored
    from edge.inspection.line_recipes import JudgedBy
    from edge.storage.shadow_verdicts import Answer


def is_anomalous(inspection: Inspection, recipe: LoadedRecipe) -> bool:
    """A part whose score is at or above the threshold is."""
    return inspection.score >= recipe.threshold


def is_for_review(inspection: Inspection, recipe: LoadedRecipe) -> bool:
    """An anomalous part whose score is below the upper border of a review is."""
    border = recipe.review_below
    return border is not None and is_anomalous(inspection, recipe) and inspection.score < border


def answer_of(inspection: Inspection, recipe: LoadedRecipe) -> Answer:
    """What a recipe says of a part, in one word."""
    if is_for_review(inspection, recipe):
        return "review"
    return "anomaly" if is_anomalous(inspection, recipe) else "normal"


def make_verdict(
    line: str,
    seq: int,
    identity: str,
    request: InspectionRequest,
    scored: Scored,
    *,
    issued: datetime,
    now: float,
    archive: str | None,
    generation: int,
) -> Verdict:
    """The verdict on a part that was scored; `now` and the request's times are seconds of one monotonic clock."""
    inspection, recipe, frame = scored.inspection, request.recipe, request.frame
    assert recipe is not None
    assert frame is not None
    roi = recipe.settings.roi
    x, y = (roi.x, roi.y) if roi else (0, 0)
    anomalous = is_anomalous(inspection, recipe)
    found = find_regions(inspection.heatmap, recipe.pixel_threshold) if anomalous else ()
    likeness, phrases = inspection.likeness if anomalous else None, recipe.text.phrases
    height, width = inspection.size
    peak = inspection.peak
    return Verdict(
        id=identity,
        line=line,
        seq=seq,
        part_id=request.part_id,
        generation=generation,
        mode=request.mode,
        captured_at=frame.captured_at,
        issued_at=issued,
        verdict="anomaly" if anomalous else "normal",
        score=inspection.score,
        threshold=recipe.threshold,
        review=is_for_review(inspection, recipe),
        review_below=recipe.review_below,
        provisional=recipe.provisional,
        scores=Scores(global_=inspection.global_score, local=inspection.local_score, memory=inspection.memory_score),
        regions=tuple(_region_part(region, inspection, recipe, (x, y)) for region in found),
        explanation=tuple(
            Reason(text=reason.text, similarity=reason.similarity)
            for reason in (reasons(likeness, phrases) if likeness else ())
        ),
        heatmap=Heatmap(
            topic=topics.HEATMAP.of(line),
            archive=archive,
            x=x,
            y=y,
            width=width,
            height=height,
            max=peak.value,
            peak=(x + peak.x, y + peak.y),
        ),
        recipe=recipe.wire,
        model=recipe.model,
        bank=recipe.bank,
        camera=_camera_part(frame),
        timing_ms=Timing(
            capture=(request.arrived - frame.captured) * 1000,
            queue=scored.queue_ms,
            decode=frame.decode_ms,
            score=scored.score_ms,
            total=(now - (request.received if request.mode == "trigger" else frame.captured)) * 1000,
        ),
        simulated=frame.simulated,
    )


def _region_part(region: MapRegion, inspection: Inspection, recipe: LoadedRecipe, at: tuple[int, int]) -> Region:
    """A region of the inspected part of the frame, which begins `at` (x, y), pixels."""
    likeness, (x, y) = inspection.likeness, at
    phrase = describe(likeness, recipe.text.phrases, region.peak, inspection.size) if likeness else None
    return Region(
        x=region.x + x,
        y=region.y + y,
        width=region.width,
        height=region.height,
        area=region.area,
        score=region.score,
        peak=(region.peak[0] + x, region.peak[1] + y),
        position=region.position,
        descriptor=phrase,
        defect=None if phrase is None else recipe.kinds.get(phrase),
    )


def make_error(
    line: str,
    seq: int,
    identity: str,
    request: InspectionRequest,
    fault: Fault,
    judged_by: JudgedBy,
    *,
    issued: datetime,
    generation: int,
) -> Verdict:
    """The verdict on a part that could not be judged."""
    frame = request.frame
    return Verdict(
        id=identity,
        line=line,
        seq=seq,
        part_id=request.part_id,
        generation=generation,
        mode=request.mode,
        captured_at=frame.captured_at if frame else None,
        issued_at=issued,
        verdict="error",
        error=fault,
        threshold=judged_by.threshold,
        provisional=judged_by.provisional,
        recipe=judged_by.wire,
        model=judged_by.model,
        bank=judged_by.bank,
        camera=_camera_part(frame) if frame else None,
        simulated=frame.simulated if frame else False,
    )


def _camera_part(frame: Frame) -> CameraFrame:
    height, width = frame.image.shape[:2]
    return CameraFrame(frame=frame.number, dropped=frame.dropped, width=width, height=height, exposure=frame.exposure)
