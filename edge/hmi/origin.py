"""Where a request comes from: under which name this console was reached, and from whose page."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Sequence
from urllib.parse import urlsplit

from starlette.datastructures import Headers

_SAME = "same-origin"


class HostNames:
    """The names that this console answers to. A page of a stranger that gives its own name this machine's address, to
    read what is here, sends the stranger's name.
    """

    def __init__(self, listen: str, hosts: Sequence[str]) -> None:
        """`listen`, `hosts`: as configured. This machine's own names, and all addresses, are known besides."""
        machine = socket.gethostname().lower()
        known = {"localhost", machine, f"{machine}.local", listen.lower(), *(host.lower() for host in hosts)}
        self._names = frozenset(known - {""})

    def know(self, host: str) -> bool:
        """Whether a `Host` header, with or without a port, names this console."""
        name = _without_port(host)
        if name is None:
            return False
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return name.lower().rstrip(".") in self._names
        return True  # nobody else's page can have an address of this machine for its name


def cross_site(headers: Headers) -> str | None:
    """Why a request that changes something does not come from a page of this console; None: it does, or it comes from
    no page at all.

    A browser says with each such request where it comes from, and no page can make it say anything else.
    """
    site, origin = headers.get("sec-fetch-site"), headers.get("origin")
    if site is not None and site != _SAME:
        return f"Sec-Fetch-Site is {site[:32]}"
    if origin is not None and not _is_own(origin, headers.get("host", "")):
        return f"Origin is {origin[:128]}"
    return None


def from_page(headers: Headers) -> bool:
    """Whether a browser says which page a request comes from."""
    return "sec-fetch-site" in headers or "origin" in headers


def _is_own(origin: str, host: str) -> bool:
    """A proxy that ends TLS changes the scheme, so that it is not compared."""
    try:
        found = urlsplit(origin)
    except ValueError:
        return False
    return found.scheme in ("http", "https") and found.netloc.lower() == host.lower()


def _without_port(host: str) -> str | None:
    """The name of a `Host` header; None: it is none."""
    if host.startswith("["):
        name, bracket, rest = host[1:].partition("]")
        whole = bool(bracket)
    else:
        name, colon, port = host.partition(":")
        rest, whole = colon + port, True
    if not whole or (rest and not (rest[0] == ":" and rest[1:].isascii() and rest[1:].isdecimal())):
        return None
    return name
