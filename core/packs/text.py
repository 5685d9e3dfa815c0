"""The one text of a prompt pack: what a pack says always has the same bytes, so that two versions differ line by line.

Keys are in the order of `PromptPack`, and every sentence and phrase has a line of its own.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from core.packs.pack import PromptPack

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")


def dump_pack(pack: PromptPack) -> str:
    """The TOML text of `pack`, ending with a newline; `load_pack` reads the same content from it."""
    return "\n".join(_table(pack.model_dump(by_alias=True))) + "\n"


def _table(pairs: Mapping[str, Any]) -> Iterator[str]:
    """The lines of the whole file; a list, or a table, of the file has an empty line before it."""
    for key, value in pairs.items():
        if not isinstance(value, (str, int)):
            yield ""
        if isinstance(value, Mapping):
            yield f"[{_key(key)}]"
            for inner, item in value.items():
                yield f"{_key(inner)} = {_value(item)}"
        else:
            yield f"{_key(key)} = {_value(value)}"


def _key(name: str) -> str:
    return name if _BARE_KEY.fullmatch(name) else _string(name)


def _value(value: str | int | tuple[str, ...]) -> str:
    if isinstance(value, str):
        return _string(value)
    if isinstance(value, int):
        return str(value)
    return "\n".join(["[", *(f"    {_string(item)}," for item in value), "]"]) if value else "[]"


def _string(text: str) -> str:
    """A basic string; JSON's escapes are TOML's too, which also wants DEL escaped."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", r"\u007f")
