"""Takes credentials out of anything that may reach a log, a console or a verdict."""

from __future__ import annotations

import re

from edge.address import NETWORK, origin, secrets_of

_WORD = re.compile(r"\S+")
_SCHEME = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]*\Z")
_CLOSING = re.compile(r"[\"',;:.)}>]*\Z")
_SECRET_VALUE = re.compile(
    r"(?i)(?P<key>(?:[?&](?:token|secret|key|auth)|(?<![\w-])(?:password|passwd|pwd|user-pw|proxy-pw))=)[^&\s]+"
)
_WEB = ("http", "https")


def redact(text: str) -> str:
    """`text` with scheme, host and port alone of every address that may be a camera's; see `edge.address`.

    Addresses of the web are kept that have no user and no query: remedies name some.
    """
    return _SECRET_VALUE.sub(r"\g<key>***", _WORD.sub(_without_secrets, text))


def redact_source(text: str, source: str) -> str:
    """`text` of a program that reads the camera `source`, without any piece of that address but its origin."""
    text = redact(text)
    for secret in secrets_of(source):
        text = text.replace(secret, "***")
    return text


def _without_secrets(word: re.Match[str]) -> str:
    """A word without what an address in it must not show, in a time that grows as the word does."""
    before, slashes, rest = word[0].partition("://")
    scheme = _SCHEME.search(before[-20:]) if slashes else None
    closing = _CLOSING.search(rest[-8:])
    end = closing[0] if closing else ""
    if scheme is None or end == rest:
        return word[0]
    if scheme[0].lower() in _WEB and not any(one in rest for one in "@?="):
        return word[0]
    if scheme[0].lower() not in NETWORK and "@" not in rest:
        return word[0]
    return f"{before[: -len(scheme[0])]}{origin(scheme[0], rest[: len(rest) - len(end)])}{end}"
