"""Text that a terminal, a log and a person take as what it looks like."""

from __future__ import annotations

import re
import unicodedata

# Python calls them printable, and nobody sees them: joiners, fillers, choosers of a variant, blanks of other scripts.
_UNSEEN = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)


def is_printable(text: str) -> bool:
    """Whether a reader sees each character of `text`, and nothing in it moves a cursor."""
    return text.isprintable() and _UNSEEN.search(text) is None


def unprintable(text: str, allowed: str = "") -> str | None:
    """The first character of `text` that does not show as itself, as `U+202E RIGHT-TO-LEFT OVERRIDE`; None: all do.

    Such are control characters with ESC and those of C1, the ends of lines and paragraphs, marks that turn the
    direction of writing, characters without a width, blanks other than the space, halves of surrogate pairs, and what
    Unicode does not define. Those in `allowed` are passed over.
    """
    if is_printable(text):
        return None
    found = next((one for one in text if not is_printable(one) and one not in allowed), None)
    if found is None:
        return None
    return f"U+{ord(found):04X} {unicodedata.name(found, '')}".rstrip()


def encodable(text: str) -> str:
    """`text` that JSON and UTF-8 can say: what a file's name may hold beyond that, a byte of another encoding, becomes
    a visible escape, the one of `shown`.
    """
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def shown(text: str) -> str:
    """`text` on one line, with its unprintable characters as visible escapes, such as `\\x1b`."""
    if is_printable(text):
        return text
    return "".join(one if is_printable(one) else one.encode("unicode_escape").decode("ascii") for one in text)
