"""The model that a head is for: of the release OpenAI's weights, with another activation and at another size."""

from __future__ import annotations

from core.backbone import Backbone, load_backbone
from core.filo.head import HeadRecord
from core.overrides import Overrides
from core.weights.store import Store


def backbone_for(
    record: HeadRecord, weights: str, device: str = "cpu", dtype: str = "auto", store: Store | None = None
) -> Backbone:
    """The model of a head's record, with its activation and input size, whatever the weights' own are.

    Args:
        record: Of the head.
        weights: A pretrained tag that was fetched, or a file.
        device: As of `load_backbone`.
        dtype: The same.
        store: Where tags are looked for first.

    Raises:
        ModelError: as `load_backbone`.
    """
    asked = Overrides(image_size=record.image_size, quick_gelu=record.activation == "quick_gelu")
    return load_backbone(record.model, weights, device, dtype, store, asked)
