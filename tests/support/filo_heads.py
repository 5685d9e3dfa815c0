"""Heads of FiLo with random weights: they place and name as trained ones do, only not rightly."""

from __future__ import annotations

from pathlib import Path

from core.backbone import Backbone, load_backbone
from core.filo.head import FiloHead, record_for


def random_head(folder: Path, backbone: Backbone | None = None, seed: int = 0) -> Path:
    """The file of a head for a model, by default the bundled one."""
    backbone = backbone or load_backbone("bundled", None, "cpu", "fp32")
    path = folder / f"head-{seed}.safetensors"
    FiloHead(record_for(backbone, source="random weights, for a test"), seed).save(path)
    return path
