"""Makes a checkpoint the bundled model: `python -m core.training.export --folder FOLDER --name NAME`."""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from pathlib import Path

import torch
from safetensors.torch import save

from core import models
from core.models import CARD, WEIGHTS, Card


def export(checkpoint: Path, name: str, aligner: str, memory_gain: float, out: Path) -> Card:
    """Writes the running mean of a checkpoint's weights, in float16, and the card that names them."""
    state = torch.load(checkpoint, weights_only=True, map_location="cpu")
    data = save({key: value.half().contiguous() for key, value in sorted(state["mean"].items())})
    card = Card(name, hashlib.sha256(data).hexdigest(), aligner, memory_gain)
    (out / WEIGHTS).write_bytes(data)
    (out / CARD).write_text(json.dumps(vars(card), indent=2) + "\n", "utf-8")
    return card


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m core.training.export", description=__doc__)
    parser.add_argument("--folder", type=Path, required=True, help="where `python -m core.training` left a checkpoint")
    parser.add_argument("--name", required=True, help="as in every verdict")
    parser.add_argument("--aligner", default="identity", help="that suits the model, by the table in its card")
    parser.add_argument(
        "--memory-gain", type=float, default=16.0, help="that suits the model, by 4-shot figures of simulated lines"
    )
    arguments = parser.parse_args()
    out = Path(next(iter(models.__path__)))
    card = export(arguments.folder / "windows.pt", arguments.name, arguments.aligner, arguments.memory_gain, out)
    size = (out / WEIGHTS).stat().st_size / 1e6
    sys.stdout.write(f"{out / WEIGHTS}: {card.name}, {size:.1f} MB, SHA-256 {card.sha256}\n")


if __name__ == "__main__":
    main()
