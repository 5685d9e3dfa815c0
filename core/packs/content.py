"""The content of a pack's file: tables, lists and printable text, within limits whatever the file holds."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from core.printable import shown, unprintable
from core.regular_file import read_regular
from core.toml import MOST_BYTES, TomlError, parse_toml

_DEEPEST = 3  # a table, in it a list, in that a text
_QUERIES = ("provenance", "queries")  # are kept word for word, with their line breaks


class PackError(ValueError):
    """A pack that is not there or not right; the message names file, line, key and reason."""


def read_file(path: Path) -> bytes:
    """The bytes of a pack's file.

    Raises:
        PackError: there is no such file, it is not regular, cannot be read, or is larger than a TOML file may be.
    """
    try:
        return read_regular(path, MOST_BYTES)
    except OSError as error:
        raise PackError(f"pack {shown(str(path))}: {error.strerror or error}; name a pack, or a TOML file") from error


def parse(data: bytes, where: str) -> tuple[str, dict[str, Any]]:
    """The text of a file, and its tables; all of it is printable, and no deeper than a pack is.

    Args:
        data: What the file holds.
        where: How messages begin.

    Raises:
        PackError: it is something else.
    """
    try:
        text, content = parse_toml(data)
    except TomlError as error:
        raise PackError(f"{where}: {error}") from None
    for at, reason in unfit(content):
        raise PackError(f"{where}: line {line_of(text, content, at)}: {place(at)}: {reason}")
    return text, content


def unfit(content: Any, at: tuple[str | int, ...] = ()) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """What is not printable, or too deep, in tables, lists and texts: the keys and indices that lead to it, and why."""
    if isinstance(content, str):
        found = unprintable(content, "\n" if at[:-1] == _QUERIES else "")
        if found:
            yield at, f"holds {found}, which does not show; take it out"
    elif isinstance(content, (Mapping, list, tuple)) and len(at) >= _DEEPEST:
        yield at, f"is nested more than {_DEEPEST} deep; a pack has tables of lists of texts"
    elif isinstance(content, Mapping):
        for key, value in content.items():
            if found := unprintable(key):
                yield (*at, key), f"the key holds {found}, which does not show; take it out"
            yield from unfit(value, (*at, key))
    elif isinstance(content, (list, tuple)):
        for index, value in enumerate(content):
            yield from unfit(value, (*at, index))


def place(at: Sequence[str | int]) -> str:
    """Keys and indices as messages name them."""
    return ".".join(shown(str(part))[:80] for part in at)


def line_of(text: str, content: Any, at: Sequence[str | int]) -> int:
    """The number of the line of what the keys and indices `at` lead to, or of the last of them that is found."""
    lines = text.split("\n")
    row = 0
    for key in at:
        if isinstance(key, str) and isinstance(content, Mapping) and key in content:
            name = re.compile(rf"""\s*\[?\s*["']?{re.escape(key)}["']?\s*[]=]""")
            found = next((after for after in range(row, len(lines)) if name.match(lines[after])), None)
        elif isinstance(key, int) and isinstance(content, (list, tuple)) and key < len(content):
            found = _line_of_item(lines, row, content[: key + 1])
        else:
            found = None
        if found is None:
            break
        row, content = found, content[key]
    return row + 1


def _line_of_item(lines: Sequence[str], row: int, items: Sequence[object]) -> int | None:
    """The index of the line, from `row` on, that holds the last of `items`, some of which may be the same."""
    item = items[-1]
    if not isinstance(item, str):
        return None
    quoted = {json.dumps(item), json.dumps(item, ensure_ascii=False), f"'{item}'"}
    left = items.count(item)
    for index in range(row, len(lines)):
        left -= sum(lines[index].count(mark) for mark in quoted)
        if left <= 0:
            return index
    return None
