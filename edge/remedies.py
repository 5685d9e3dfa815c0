"""The commands of `alfa-edge` that help where the core says what is to be done."""

from __future__ import annotations

import json
import sys
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from urllib.parse import unquote, urlsplit


def install_command(origin: str | None, prefix: Path) -> str:
    """The command that adds an optional extra to an installation, with `{extra}` in the place of its name.

    Args:
        origin: What the installation says of where it came from, as `direct_url.json` of PEP 610; None: an index.
        prefix: The folder of its Python environment.
    """
    pip = prefix / "bin" / "pip"
    program, what, mode = str(pip) if pip.exists() else "pip", "alfa-edge[{extra}]", ""
    if origin is not None:
        told = json.loads(origin)
        url = urlsplit(told["url"])
        if url.scheme == "file":  # a checkout, or a file that was carried here
            what = unquote(url.path).replace("{", "{{").replace("}", "}}") + "[{extra}]"
            mode = "-e " if told.get("dir_info", {}).get("editable") else ""
        elif "vcs_info" in told:
            what = f"alfa-edge[{{extra}}] @ {told['vcs_info']['vcs']}+{told['url']}"
    return f"{program} install {mode}'{what}'"


def _origin() -> str | None:
    try:
        return distribution("alfa-edge").read_text("direct_url.json")
    except PackageNotFoundError:  # it runs from its folder, and nothing was installed
        return None


COMMANDS = {
    "architectures": "alfa-edge model list --architectures",
    "export shots": "alfa-edge shots export",
    "import": "alfa-edge model import {file} --model {model} --tag {tag}",
    "import head": "alfa-edge filo import CHECKPOINT",
    "install": install_command(_origin(), Path(sys.prefix)),
    "list shots": "alfa-edge shots list",
    "name head": "alfa-edge filo import CHECKPOINT --model NAME --size PIXELS",
    "pull": "alfa-edge model pull {model} {tag}",
    "reembed": "alfa-edge shots reembed",
    "remove": "alfa-edge model remove {model} {tag}",
    "restore": "alfa-edge restore FOLDER",
    "store": "--store DIR",
}
"""By action, as `core.remedy.remedy` is told it."""
