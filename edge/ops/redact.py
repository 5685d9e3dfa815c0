"""Takes credentials out of anything that may reach a log, a console or a verdict."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

_WORD = re.compile(r"\S+")
_SECRET_QUERY = re.compile(r"(?i)(?P<key>[?&](?:password|passwd|pwd|token|secret|key|auth)=)[^&\s]+")


def redact(text: str) -> str:
    """`text` with the user and password of every URL, and secret-looking query values, replaced by `***`."""
    return _SECRET_QUERY.sub(r"\g<key>***", _WORD.sub(_without_user, text))


def _without_user(word: re.Match[str]) -> str:
    """A word without what may be the user and password of a URL in it, in a time that grows as the word does.

    A password may hold a slash or an @, though none should: all goes to the last @, more of it than need be.
    """
    before, scheme, rest = word[0].partition("://")
    _, at, host = rest.rpartition("@")
    return f"{before}{scheme}***@{host}" if at else word[0]


def is_url(source: str) -> bool:
    """Whether a camera source is a network address rather than a path."""
    return urlsplit(source).scheme.lower() in {"rtsp", "rtsps", "http", "https", "rtmp", "udp", "tcp"}
