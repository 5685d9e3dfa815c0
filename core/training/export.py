"""Makes a checkpoint the bundled model: `python -m core.training.export --folder FOLDER --name NAME`."""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from dataclasses import asdict
from pathlib import Path

from safetensors.torch import save

from core import models
from core.models import CARD, WEIGHTS, Card
from core.training.measure import TRAITS
from core.weights.file import load_tensors


def export(checkpoint: Path, name: str, out: Path) -> Card:
    """Writes the running mean of a checkpoint's weights, in float16, and the card that names them."""
    state = load_tensors(checkpoint)
    data = save({key: value.half().contiguous() for key, value in sorted(state["mean"].items())})
    card = Card(name, hashlib.sha256(data).hexdigest(), TRAITS)
    (out / WEIGHTS).write_bytes(data)
    (out / CARD).write_text(json.dumps(asdict(card), indent=2) + "\n", "utf-8")
    return card


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m core.training.export", description=__doc__)
    parser.add_argument("--folder", type=Path, required=True, help="where `python -m core.training` left a checkpoint")
    parser.add_argument("--name", required=True, help="as in every verdict")
    arguments = parser.parse_args()
    out = Path(next(iter(models.__path__)))
    card = export(arguments.folder / "windows.pt", arguments.name, out)
    size = (out / WEIGHTS).stat().st_size / 1e6
    sys.stdout.write(f"{out / WEIGHTS}: {card.name}, {size:.1f} MB, SHA-256 {card.sha256}\n")


if __name__ == "__main__":
    main()
