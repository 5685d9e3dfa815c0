"""Text that a terminal, a log and a person take as what it looks like."""

from __future__ import annotations

import unicodedata


def unprintable(text: str, allowed: str = "") -> str | None:
    """The first character of `text` that does not show as itself, as `U+202E RIGHT-TO-LEFT OVERRIDE`; None: all do.

    Such are control characters, bidi controls, zero widths, line separators, blanks other than the space, halves of
    surrogate pairs, and what Unicode does not define. Those in `allowed` are passed over.
    """
    if text.isprintable():
        return None
    found = next((character for character in text if not character.isprintable() and character not in allowed), None)
    if found is None:
        return None
    return f"U+{ord(found):04X} {unicodedata.name(found, '')}".rstrip()


def shown(text: str) -> str:
    """`text` with its unprintable characters as escapes, such as `\\x1b`."""
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)
