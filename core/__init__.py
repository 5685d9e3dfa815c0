"""ALFA: training-free zero- and few-shot visual anomaly detection on CLIP. Tensors in, value objects out."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from core.detector import Detector as Detector
    from core.judgement import Judgement as Judgement

MOST_PIXELS = 88_000_000
"""Of a picture that is read, as of a frame; else a decoder makes gigabytes of a few bytes."""

_FACE = {"Detector": "core.detector", "Judgement": "core.judgement"}
"""The public names by their modules, which take seconds to import: nobody who uses neither waits for torch."""

__all__ = ["MOST_PIXELS", "Detector", "Judgement"]


def __getattr__(name: str) -> Any:
    if name not in _FACE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_FACE[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_FACE})
