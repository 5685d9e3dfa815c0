"""The head that comes with the package, for the bundled model."""

from __future__ import annotations

from importlib.resources import as_file, files

from core import models
from core.backbone import Backbone
from core.filo.head import FiloHead, load_head

HEAD = "filo.safetensors"
"""Its file, beside the bundled model's weights."""


def bundled_head(backbone: Backbone) -> FiloHead | None:
    """The bundled head, on the CPU, where it belongs to this model.

    Raises:
        ModelError: its file is damaged.
    """
    file = files(models) / HEAD
    if not file.is_file():
        return None
    with as_file(file) as path:
        head = load_head(path)
    return head if head.record.fingerprint == backbone.fingerprint else None
