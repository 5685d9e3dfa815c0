"""The content of a pack's file: tables, lists and printable text, within limits whatever the file holds."""

from __future__ import annotations

import json
import os
import re
import stat
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from core.printable import shown, unprintable

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

MOST_BYTES = 256 * 1024
"""The largest file; the largest bundled one has 8 kB."""
_MOST_DOTS = 100  # in a line: a key of thousands of parts takes the parser minutes
_DEEPEST = 3  # a table, in it a list, in that a text
_QUERIES = ("provenance", "queries")  # are kept word for word, with their line breaks


class PackError(ValueError):
    """A pack that is not there or not right; the message names file, line, key and reason."""


def read_file(path: Path) -> bytes:
    """The bytes of a regular file; a FIFO or a device is refused at once, and neither waited for nor read.

    Raises:
        PackError: there is no such file, it is not regular, cannot be read, or is larger than `MOST_BYTES`.
    """
    where = f"pack {shown(str(path))}"
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
        try:
            regular = stat.S_ISREG(os.fstat(descriptor).st_mode)
            data = _read(descriptor, MOST_BYTES + 1) if regular else b""
        finally:
            os.close(descriptor)
    except (OSError, ValueError) as error:  # a path with a NUL is a ValueError
        raise PackError(f"{where}: {getattr(error, 'strerror', None) or error}") from error
    if not regular:
        raise PackError(f"{where}: is no regular file; name a pack, or the path of a TOML file")
    if len(data) > MOST_BYTES:
        raise PackError(f"{where}: is larger than {MOST_BYTES >> 10} KiB; a pack of hundreds of sentences is smaller")
    return data


def _read(descriptor: int, most: int) -> bytes:
    data = bytearray()
    while len(data) < most and (more := os.read(descriptor, most - len(data))):
        data += more
    return bytes(data)


def parse(data: bytes, where: str) -> tuple[str, dict[str, Any]]:
    """The text of a file, and its tables; all of it is printable, and no deeper than a pack is.

    Args:
        data: What the file holds.
        where: How messages begin.

    Raises:
        PackError: it is something else.
    """
    if len(data) > MOST_BYTES:
        raise PackError(f"{where}: is larger than {MOST_BYTES >> 10} KiB; a pack of hundreds of sentences is smaller")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise PackError(f"{where}: line {line} is not UTF-8") from None
    for number, line_text in enumerate(text.split("\n"), 1):
        if line_text.count(".") > _MOST_DOTS:
            raise PackError(f"{where}: line {number}: more than {_MOST_DOTS} full stops; write one sentence a line")
    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        end = f"at line {text.count(chr(10)) + 1}, the end of the file"
        reason = shown(str(error).replace("at end of document", end))
        raise PackError(f"{where}: not valid TOML: {reason}") from None
    except RecursionError:
        raise PackError(f"{where}: not valid TOML: it is nested too deeply") from None
    except MemoryError:
        raise PackError(f"{where}: there is no memory to read it") from None
    except (ValueError, OverflowError) as error:  # a number of thousands of digits
        raise PackError(f"{where}: not valid TOML: {shown(str(error))}") from None
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
        left -= sum(lines[index].count(one) for one in quoted)
        if left <= 0:
            return index
    return None
