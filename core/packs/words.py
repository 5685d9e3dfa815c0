"""What a pack's texts have to look like, and in words what is wrong with one that does not."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import Any

from pydantic_core import ErrorDetails

PHRASE = r"^\S(.*\S)?$"
SENTENCE = r"^[A-Z].*\.$"
VERSION = r"^[0-9]{1,9}\.[0-9]{1,9}\.[0-9]{1,9}$"
DATE = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$"

_MEANT = {
    PHRASE: "begins or ends with a blank; take it out",
    SENTENCE: "is no sentence; begin it with a capital letter, and end it with a full stop",
    VERSION: 'is no version; write three numbers, as "1.0.0"',
    DATE: 'is no date; write year, month and day, as "2026-01-31"',
}
_SHOWN = 60  # characters of a text that are repeated


def in_words(error: ErrorDetails, known: Sequence[str]) -> str:
    """What is wrong with one value, and what to do about it, without the key.

    Args:
        error: As pydantic tells it.
        known: The keys of the table that it is in.
    """
    kind, limits, value = error["type"], error.get("ctx", {}), error["input"]
    if kind == "string_pattern_mismatch" and limits["pattern"] in _MEANT:
        return f"{_shown(value)} {_MEANT[limits['pattern']]}"
    if kind == "string_too_short":
        least = limits["min_length"]
        return f"{_shown(value)} is shorter than {least} characters" if value else "is empty; say something"
    if kind == "string_too_long":
        return f"{_shown(value)} has {len(value)} characters; {limits['max_length']} are the most"
    if kind == "too_short":
        return f"has {limits['actual_length']} entries; add some, {limits['min_length']} are the least"
    if kind == "too_long":
        return f"has more than {limits['max_length']} entries; take some out"
    if kind == "missing":
        return "is missing; add it"
    if kind == "extra_forbidden":
        close = difflib.get_close_matches(str(error["loc"][-1]), known, n=1)
        return f"is no key of a pack; did you mean {close[0]}?" if close else f"is no key; here are {', '.join(known)}"
    if kind == "string_type":
        return "is no text; put it in quotes"
    if kind in ("tuple_type", "list_type"):
        return "is no list; write texts between [ and ]"
    if kind in ("dict_type", "model_type", "model_attributes_type"):
        return "is no table; write its keys below a heading in brackets"
    if kind == "literal_error":
        return f"is {_shown(value)}; only {limits['expected']} can be read"
    return error["msg"]


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
