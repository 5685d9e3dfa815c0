"""TOML from strangers: read, or refused in words at once, whatever the file holds."""

from __future__ import annotations

import codecs
import sys
from typing import Any

from core.printable import shown

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

MOST_BYTES = 256 * 1024
"""Of a file."""
_MOST_DOTS = 100  # in a line: a key of thousands of parts takes the parser minutes


class TomlError(ValueError):
    """The file is no TOML, or is more than is read; the message says why, and where."""


def parse_toml(data: bytes) -> tuple[str, dict[str, Any]]:
    """The text of a TOML file, and its tables.

    Args:
        data: The file, `MOST_BYTES` at most.

    Raises:
        TomlError: it is none.
    """
    if len(data) > MOST_BYTES:
        raise TomlError(f"is larger than {MOST_BYTES >> 10} KiB")
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise TomlError("is UTF-16, as some editors save files; save it as UTF-8")
    try:
        text = data.decode("utf-8-sig")  # editors that begin a file with a byte order mark mean UTF-8
    except UnicodeDecodeError as error:  # whose own message would hold what the file says
        number = data[: error.start].count(10) + 1
        raise TomlError(f"line {number} is not UTF-8; save the file as UTF-8") from None
    for number, line in enumerate(text.split("\n"), 1):
        if line.count(".") > _MOST_DOTS:
            raise TomlError(f"line {number} has more than {_MOST_DOTS} full stops")
    try:
        return text, tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        end = f"at line {text.count(chr(10)) + 1}, the end of the file"
        reason = str(error).replace("at end of document", end)
    except RecursionError:
        reason = "it is nested too deeply"
    except (ValueError, OverflowError) as error:  # a number of thousands of digits
        reason = str(error)
    raise TomlError(f"not valid TOML: {shown(reason)}")
