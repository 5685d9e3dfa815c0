"""Streams of ZMTP 3, made by hand."""

from __future__ import annotations

import random
from collections.abc import Iterator

GREETING = b"\xff" + bytes(8) + b"\x7f\x03\x00NULL" + bytes(16 + 1 + 31)
READY = b"\x04\x05READY"


def hello(kind: bytes) -> bytes:
    """READY of a socket of a kind, as `DEALER`, as libzmq has it, so that it goes on."""
    return command(b"\x05READY" + properties(Socket_Type=kind))


def frame(size: int, more: bool = False) -> bytes:
    """A frame of a message: so many zeros."""
    flags = int(more) | (2 if size > 255 else 0)
    return bytes([flags]) + size.to_bytes(8 if size > 255 else 1, "big") + bytes(size)


def command(body: bytes) -> bytes:
    """A command of ZMTP itself."""
    if len(body) > 255:
        return b"\x06" + len(body).to_bytes(8, "big") + body
    return bytes([4, len(body)]) + body


def properties(**values: bytes) -> bytes:
    """Of a READY; `_` in a name stands for `-`."""
    found = b""
    for name, value in values.items():
        spelt = name.replace("_", "-").encode()
        found += bytes([len(spelt)]) + spelt + len(value).to_bytes(4, "big") + value
    return found


def in_pieces(stream: bytes, pieces: int) -> Iterator[bytes]:
    """A stream in so many pieces of any lengths, the same each time."""
    cuts = sorted(random.Random(pieces).choices(range(len(stream) + 1), k=pieces - 1))
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        yield stream[start:end]
