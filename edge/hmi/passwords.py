"""Passwords and tokens as they are kept: what a file says of them lets nobody in."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets

SHORTEST = 8
"""Characters of a password."""
LONGEST = 1024
"""Bytes of one in UTF-8."""

_COST = (15, 8, 3)  # the logarithm of N, r and p: 32 MiB, and about a quarter of a second of a small processor
_HIGHEST = (20, 16, 8)  # of a file: more would take the memory of the machine
_SALT, _KEY = 16, 32  # bytes
_FORM = re.compile(r"scrypt\$(\d{1,2})\$(\d{1,2})\$(\d)\$([A-Za-z0-9+/=]{22,64})\$([A-Za-z0-9+/=]{43,88})")
_TOKEN = re.compile(r"sha256\$[0-9a-f]{64}")
_TOKEN_BYTES = 32
TOKEN_PREFIX = "alfa_"
"""What a token begins with, so that it is found where it must not be."""


class PasswordError(ValueError):
    """The password cannot be used; the message says why."""


def check_password(password: str) -> str:
    """`password`, which is long enough.

    Raises:
        PasswordError: it is not; or it is longer than any.
    """
    if len(password) < SHORTEST:
        raise PasswordError(f"a password has at least {SHORTEST} characters")
    try:
        size = len(password.encode())
    except UnicodeError:
        raise PasswordError("a password is text in UTF-8") from None
    if size > LONGEST:
        raise PasswordError(f"a password has at most {LONGEST} bytes")
    return password


def hash_password(password: str) -> str:
    """What is kept of a password: method, cost, salt and hash.

    Raises:
        PasswordError: it is too short or too long.
    """
    check_password(password)
    salt = secrets.token_bytes(_SALT)
    return _written(_COST, salt, _scrypt(password, salt, _COST))


def is_password(password: str, kept: str) -> bool:
    """Whether `kept` is of `password`. It takes some 100 ms and 32 MiB of memory, whatever the answer."""
    found = _FORM.fullmatch(kept)
    if found is None or len(password) > LONGEST:
        return False
    cost = (int(found[1]), int(found[2]), int(found[3]))
    try:
        salt, key = base64.b64decode(found[4], validate=True), base64.b64decode(found[5], validate=True)
        made = _scrypt(password, salt, cost)
    except (ValueError, UnicodeError):  # half a surrogate pair; or a file that somebody else has written
        return False
    return hmac.compare_digest(made, key)


def is_kept_form(kept: str) -> bool:
    """Whether `kept` is what `hash_password` or `hash_token` may have made."""
    found = _FORM.fullmatch(kept)
    if found is None:
        return _TOKEN.fullmatch(kept) is not None
    return all(1 <= int(value) <= most for value, most in zip(found.groups()[:3], _HIGHEST, strict=True))


def new_token() -> str:
    """A token of 256 random bits, for a script."""
    return TOKEN_PREFIX + secrets.token_urlsafe(_TOKEN_BYTES)


def hash_token(token: str) -> str:
    """What is kept of a token. It is random and long, so that one fast hash is enough."""
    return f"sha256${hashlib.sha256(token.encode('utf-8', 'replace')).hexdigest()}"


def _written(cost: tuple[int, int, int], salt: bytes, key: bytes) -> str:
    log_n, r, p = cost
    return f"scrypt${log_n}${r}${p}${base64.b64encode(salt).decode()}${base64.b64encode(key).decode()}"


def _scrypt(password: str, salt: bytes, cost: tuple[int, int, int]) -> bytes:
    log_n, r, p = cost
    memory = 128 * r * (2**log_n + p + 2)
    return hashlib.scrypt(password.encode(), salt=salt, n=2**log_n, r=r, p=p, maxmem=2 * memory, dklen=_KEY)


NOBODYS = _written(_COST, bytes(_SALT), bytes(_KEY))
"""Of no password: what is asked for in the place of a user that does not exist takes as long."""
