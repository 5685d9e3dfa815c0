"""The model that a head of the release is for: OpenAI's weights, with another activation and at another size."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from core.backbone import CLIP_MEAN, CLIP_STD, Backbone, resolve_device, resolve_dtype, wrap_model
from core.clip import CLIP, open_clip
from core.filo.head import HeadRecord
from core.model_error import ModelError
from core.weights.file import why_not_read
from core.weights.source import find
from core.weights.store import Store


def backbone_for(
    record: HeadRecord, weights: str, device: str = "cpu", dtype: str = "auto", store: Store | None = None
) -> Backbone:
    """The model of a head's record, with its activation and input size, whatever the weights' own are.

    Args:
        record: Of the head.
        weights: A pretrained tag that was fetched, or a file; read without running code that it may hold.
        device: As of `load_backbone`.
        dtype: The same.
        store: Where tags are looked for first.

    Raises:
        ModelError: the weights are not here, or do not load into the model.
    """
    where = resolve_device(device)
    kind = resolve_dtype(dtype, where)
    path, settings = find(record.model, weights, store)
    read = partial(_read, record, path)
    mean, std = settings.get("mean", CLIP_MEAN), settings.get("std", CLIP_STD)
    return wrap_model(record.model, read(), open_clip.get_tokenizer(record.model), where, kind, mean, std, reload=read)


def _read(record: HeadRecord, path: Path) -> CLIP:
    try:
        return open_clip.create_model(
            record.model,
            str(path),
            device="cpu",
            force_quick_gelu=record.activation == "quick_gelu",
            force_image_size=record.image_size,
            weights_only=True,
        )
    except Exception as error:  # the readers of three file formats, each with errors of its own
        raise ModelError(f"weights {path} do not load into {record.model}: {why_not_read(error)}") from None
