"""What is amiss and where: regions of a map with the description that matched best."""

from __future__ import annotations

from dataclasses import dataclass

from core.explain import describe
from core.filo.text import FiloTexts
from core.inspection import Inspection
from core.regions import Region, find_regions


@dataclass(frozen=True)
class NamedRegion:
    """A region of the heatmap and its name.

    Attributes:
        region: Where it is; `region.position` is the ninth of the frame that holds its peak.
        description: The pack's phrase that matched best at its peak.
        defect: The kind of defect that the phrase is of, a key of the pack's `[defects]`.
    """

    region: Region
    description: str
    defect: str


def name_regions(inspection: Inspection, texts: FiloTexts, threshold: float) -> tuple[NamedRegion, ...]:
    """The regions of an inspection's heatmap at or above a threshold, highest score first.

    A pack without phrases names nothing: its regions have empty names.
    """
    kinds = dict(zip(texts.phrases, texts.wording.defects, strict=False))
    found = []
    for region in find_regions(inspection.heatmap, threshold):
        likeness = inspection.likeness
        text = describe(likeness, texts.phrases, region.peak, inspection.size) if likeness else ""
        found.append(NamedRegion(region, text, kinds.get(text, "")))
    return tuple(found)
