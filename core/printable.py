"""Text from elsewhere, made fit for a terminal, a table and a log."""

from __future__ import annotations

import re

# Python calls them printable, and nobody sees them: joiners, fillers, choosers of a variant, blanks of other scripts.
_UNSEEN = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)


def is_printable(text: str) -> bool:
    """Whether a reader sees each character of `text`, and nothing in it moves a cursor."""
    return text.isprintable() and _UNSEEN.search(text) is None


def printable(text: str) -> str:
    r"""`text` on one line, with visible escapes such as `\x1b` for what a reader does not see.

    That is control characters with ESC and those of C1, the ends of lines and paragraphs, marks that turn the direction
    of writing, characters without a width, blanks other than the plain one, and what UTF-8 cannot say.
    """
    if is_printable(text):
        return text
    return "".join(one if is_printable(one) else one.encode("unicode_escape").decode("ascii") for one in text)
