"""The commands of `alfa-edge` that help where the core says what is to be done."""

from __future__ import annotations

COMMANDS = {
    "architectures": "alfa-edge model list --architectures",
    "export shots": "alfa-edge shots export",
    "import": "alfa-edge model import {file} --model {model} --tag {tag}",
    "import head": "alfa-edge filo import CHECKPOINT",
    "list shots": "alfa-edge shots list",
    "name head": "alfa-edge filo import CHECKPOINT --model NAME --size PIXELS",
    "pull": "alfa-edge model pull {model} {tag}",
    "reembed": "alfa-edge shots reembed",
    "remove": "alfa-edge model remove {model} {tag}",
    "restore": "alfa-edge restore FOLDER",
    "store": "--store DIR",
}
"""By action, as `core.remedy.remedy` is told it."""
