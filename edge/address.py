"""Addresses of cameras: what of them may be shown, and which hold characters that only look right."""

from __future__ import annotations

import re
from ipaddress import ip_address
from urllib.parse import quote, unquote

HIDDEN = "***"
NETWORK = ("rtsp", "rtsps", "http", "https", "rtmp", "rtmps", "udp", "tcp", "rtp", "srt", "mms")
"""Schemes behind which a machine of the network is."""

_URL = re.compile(r"([a-zA-Z][a-zA-Z0-9+.-]*)://(.*)", re.DOTALL)
_SCHEME_ALONE = re.compile(rf"({'|'.join(NETWORK)}):", re.IGNORECASE)
_GSTREAMER = re.compile(r"gst:", re.IGNORECASE)
_NO_PATH = re.compile(r"://|:[^@]*@|[?&][^/]*=|(?:user|usr|pass\w*|pwd)=", re.IGNORECASE)
"""What an address has that is written wrongly, its scheme forgotten for instance, and a path has not."""
_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+(?:%[\w.-]+)?\]|[\w.-]+)(?::\d{1,5})?", re.ASCII)
_RAW = re.compile(r"[#?/\[\]\s]|%(?![0-9A-Fa-f]{2})")
_ELEMENT = re.compile(r"\s*([\w.-]*)", re.ASCII)
_LEAST_SECRET = 4  # characters; shorter ones would be found in any text


def shown_source(source: str) -> str:
    """What may be shown of a camera's source: of an address scheme, host and port, of a pipeline the first element;
    of what is none of these, and no path either, nothing."""
    if _GSTREAMER.match(source):
        return f"gst:{_ELEMENT.match(source[4:])[1]}"  # type: ignore[index] # it matches anything
    if url := _URL.match(source):
        return origin(url[1], url[2])
    if scheme := _SCHEME_ALONE.match(source):
        return f"{scheme[1]}:{HIDDEN}"
    return HIDDEN if _NO_PATH.search(source) and not source.startswith("sim:") else source


def origin(scheme: str, rest: str) -> str:
    """Scheme, host and port of the address `scheme://rest`; `***` in the place of a host that cannot be told."""
    host = _authority(rest).rpartition("@")[2]
    return f"{scheme}://{host if _HOST.fullmatch(host) and not _is_ambiguous(rest) else HIDDEN}"


def check_address(source: str) -> None:
    """Raises ValueError: the user or password of an address holds characters that end it, or are no escapes."""
    url = _URL.match(source)
    if url is None:
        return
    user, _ = _parts(url[2])
    if not (raw := sorted({one[0] for one in _RAW.finditer(user)})):
        return
    names = {character: f"`{quote(character, safe='')}` for {_name(character)}" for character in raw}
    words = f"user and password hold characters that must be encoded: write {', '.join(names.values())}"
    if _is_ambiguous(url[2]):
        words += "; an @ behind the host is written `%40`"
    raise ValueError(words)


def encoded(source: str) -> str | None:
    """The address with its user and password as they are to be written; None where nothing is wrong with them."""
    url = _URL.match(source)
    if url is None:
        return None
    user, rest = _parts(url[2])
    if not _RAW.search(user):
        return None
    name, colon, password = user.partition(":")
    return f"{url[1]}://{_quoted(name)}{colon}{_quoted(password)}@{rest}"


def secrets_of(source: str) -> list[str]:
    """What must not be seen of a source in what other programs print, the longest first."""
    found: set[str] = set()
    if _GSTREAMER.match(source):
        found |= {value.strip("\"'") for value in re.findall(r"=\s*(\"[^\"]*\"|'[^']*'|\S+)", source)}
    elif url := _URL.match(source):
        user, rest = _parts(url[2])
        path = rest[len(_authority(rest)) :]
        pieces = {user, *user.split(":", 1), path, *re.findall(r"=([^=&#]+)", path)}
        found |= pieces | {unquote(piece) for piece in pieces}
    elif shown_source(source) != source:
        found.add(source)
    return sorted((secret for secret in found if len(secret) >= _LEAST_SECRET), key=len, reverse=True)


def _authority(rest: str) -> str:
    return re.split(r"[/?#]", rest, maxsplit=1)[0]


def _parts(rest: str) -> tuple[str, str]:
    """User and password, and what is behind them; where an @ is behind the host, up to that."""
    authority = _authority(rest)
    end = rest.rfind("@") if _is_ambiguous(rest) else authority.rfind("@")
    return (rest[:end], rest[end + 1 :]) if end >= 0 else ("", rest)


def _is_ambiguous(rest: str) -> bool:
    """Whether an @ is behind what seems the host: it may be the end of a password that holds a slash.

    The number of a machine is a host; addresses of some cameras have passwords in their paths.
    """
    authority = _authority(rest)
    return "@" in rest[len(authority) :] and not _is_number(authority.rpartition("@")[2])


def _is_number(host: str) -> bool:
    found = _HOST.fullmatch(host)
    if found is None:
        return False
    try:
        ip_address(found[1].strip("[]").partition("%")[0])
    except ValueError:
        return False
    return True


def _quoted(text: str) -> str:
    return re.sub(r"%[0-9A-Fa-f]{2}|.", lambda one: one[0] if len(one[0]) == 3 else quote(one[0], safe=""), text)


def _name(character: str) -> str:
    return "a space" if character == " " else "a blank" if character.isspace() else f"`{character}`"
