"""Every target of the campaign that reads its inputs in the process that draws them."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path

from tests.fuzz.tally import Target

IN_PROCESS: Mapping[str, tuple[str, str]] = {
    "packs": ("packs", "Packs"),
    "config": ("config", "Configurations"),
    "pictures": ("pictures", "Pictures"),
    "state": ("state_files", "StateFiles"),
    "broker": ("broker", "BrokerAnswers"),
}
"""By name: its module and class. A target is imported where it is used: some need torch, and others start at once."""


def make_target(name: str, folder: Path) -> Target:
    """The target of this name, with a folder of its own."""
    module, target = IN_PROCESS[name]
    made: Target = getattr(importlib.import_module(f"tests.fuzz.{module}"), target)(folder)
    return made
