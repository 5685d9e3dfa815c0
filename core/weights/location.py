"""Where weights are kept unless somebody says otherwise."""

from __future__ import annotations

from pathlib import Path

DEFAULT_STORE = Path("~/.local/share/alfa-edge/models")
"""Of this user; the program around the core may look at the environment first."""
COMPILED = "compiled"
"""The folder beside the weights, in the same place, that holds compiled packs and no weights."""
