"""Takes credentials out of anything that may reach a log, a console or a verdict."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

# A password may hold a slash or an @, though none should: all goes to the last @, more of it than need be.
_USERINFO = re.compile(r"(?P<scheme>[a-zA-Z][a-zA-Z0-9+.-]*://)\S*@")
_SECRET_QUERY = re.compile(r"(?i)(?P<key>[?&](?:password|passwd|pwd|token|secret|key|auth)=)[^&\s]+")


def redact(text: str) -> str:
    """`text` with the user and password of every URL, and secret-looking query values, replaced by `***`."""
    return _SECRET_QUERY.sub(r"\g<key>***", _USERINFO.sub(r"\g<scheme>***@", text))


def is_url(source: str) -> bool:
    """Whether a camera source is a network address rather than a path."""
    return urlsplit(source).scheme.lower() in {"rtsp", "rtsps", "http", "https", "rtmp", "udp", "tcp"}
