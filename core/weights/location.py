"""Where this user's weights are, unless somebody says otherwise."""

from __future__ import annotations

import os
from pathlib import Path


def default_store() -> Path:
    """`$ALFA_EDGE_MODELS`, else `$XDG_DATA_HOME/alfa-edge/models`, else `~/.local/share/alfa-edge/models`."""
    data = os.environ.get("XDG_DATA_HOME") or "~/.local/share"
    return Path(os.environ.get("ALFA_EDGE_MODELS") or Path(data) / "alfa-edge" / "models").expanduser()
