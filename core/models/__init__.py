"""The model that comes with the package: a small CLIP, trained on simulated parts only. CARD.md says what it can do."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load

from core.clip import CLIP
from core.model_error import ModelError
from core.model_name import BUNDLED as BUNDLED
from core.traits import Traits

WEIGHTS = "bundled.safetensors"
CARD = "card.json"


@dataclass(frozen=True)
class Card:
    """What the program has to know of the bundled weights.

    Attributes:
        name: As in every verdict.
        sha256: Of the file, hexadecimal.
        traits: What suits the model.
    """

    name: str
    sha256: str
    traits: Traits


def architecture() -> dict[str, Any]:
    """The arguments of open_clip's `CLIP`."""
    found: dict[str, Any] = json.loads((files(__name__) / "clip.json").read_text("utf-8"))
    return found


def load_card() -> Card:
    """The card, without reading the weights."""
    found = json.loads((files(__name__) / CARD).read_text("utf-8"))
    return Card(found["name"], found["sha256"], Traits(**found["traits"]))


def load_bundled() -> tuple[CLIP, Card]:
    """The bundled model in float32 on the CPU, and its card.

    Raises:
        ModelError: the files of the package are not there, or damaged.
    """
    card = load_card()
    data = (files(__name__) / WEIGHTS).read_bytes()
    if (found := hashlib.sha256(data).hexdigest()) != card.sha256:
        raise ModelError(
            f"the bundled model is damaged: {WEIGHTS} has SHA-256 {found[:12]}..., the card says "
            f"{card.sha256[:12]}...; install the package anew"
        )
    model = CLIP(**architecture())
    try:
        model.load_state_dict({key: value.float() for key, value in load(data).items()})
    except (SafetensorError, RuntimeError) as error:
        raise ModelError(f"the bundled model does not load: {str(error).splitlines()[0]}; install it anew") from error
    return model, card
