"""Which code makes features, so that none of other code are taken from a cache."""

from __future__ import annotations

import hashlib
from functools import cache
from importlib import metadata
from importlib.resources import files

_ROOMS = ("core", "core.bank")
_CACHES = ("cache.py", "few_shot.py", "map_cache.py")
_PACKAGES = ("open_clip_torch", "timm", "torch")


@cache
def code_version() -> str:
    """SHA-256, hexadecimal, of the method's code and of the versions of what it stands on.

    All of the code counts, though some of it makes no features: to encode once too often costs time, and once too
    seldom gives the figures of code that is no more.
    """
    digest = hashlib.sha256()
    for package in _PACKAGES:
        digest.update(f"{package} {metadata.version(package)}\n".encode())
    sources = [file for room in _ROOMS for file in files(room).iterdir() if file.name.endswith(".py")]
    sources += [files("core.evaluate") / name for name in _CACHES]
    for source in sorted(sources, key=str):
        digest.update(source.read_bytes())
    return digest.hexdigest()
