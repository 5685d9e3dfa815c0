"""Hostile values, texts and bytes, drawn by chance."""

from __future__ import annotations

import json
import math
import random
import string
from collections.abc import Callable, Sequence
from typing import Any

NUMBERS: tuple[int | float, ...] = (
    *(0, -1, 1, 2**31 - 1, 2**31, -(2**31) - 1, 2**63 - 1, 2**63, -(2**63) - 1, 2**64, 10**30, 10**400),
    *(-0.0, 0.1, 1e-320, 1e308, -1e308, math.inf, -math.inf, math.nan),
)
TEXTS = (
    *("", " ", "\n", "\t", "\x00", "\x1b[2J\x1b[31mred", "\x9b31m", "\x07", "\x7f", "\u202egpj.exe", "\u2066x\u2069"),
    *("\u200b", "\ufeff", "\u2028", "\ud83d", "\udc80", "\U0001f529", "e" + "\u0301" * 50, "\uffff", "\U0010ffff"),
    *("..", "../../etc/passwd", "/", "/dev/null", "~", "~root/x.toml", "$HOME", "`id`", "$(id)", "a\\b", "C:\\x"),
    *("%s%n%x", "{0}", "{0.__class__}", "{{7*7}}", "' OR 1=1 --", '"}, {"', "]]>", "<script>", "line/+/#", "$SYS/#"),
    *(
        "nan",
        "1e999",
        "-0",
        "0x10",
        "1_000",
        "true",
        "null",
        "None",
        "2026-02-30T25:61:61Z",
        "9999-12-31T23:59:59+99:99",
    ),
    *(
        "rtsp://user:pass@host/1?token=abc",
        "http://[::1",
        "gst:fakesrc",
        "sim:bottle?rate=nan",
        "x" * 300,
        "y" * 9000,
    ),
)
KEYS = (
    "",
    "a",
    "class",
    "schema",
    "line",
    "id",
    "__class__",
    "_env_file",
    "constructor",
    "a.b",
    "[key]",
    "\x1b",
    "é",
    "x" * 200,
)
_MAGIC = (
    b"\x00",
    b"\xff",
    b"\x7f",
    b"\x80",
    b"\xff\xff\xff\xff",
    b"\x00\x00\x00\x00",
    b"\x7f\xff\xff\xff",
    b"\r\n",
    b'"',
)


def number(chance: random.Random) -> int | float:
    """One that few expect."""
    return (
        chance.choice(NUMBERS)
        if chance.random() < 0.7
        else chance.choice((1, -1)) * chance.getrandbits(chance.randrange(1, 80))
    )


def text(chance: random.Random, most: int = 200) -> str:
    """One that few expect, some of it whatever Unicode has."""
    kind = chance.randrange(4)
    if kind == 0:
        return chance.choice(TEXTS)
    if kind == 1:
        return "".join(map(chr, (chance.randrange(0x300) for _ in range(chance.randrange(most)))))
    if kind == 2:
        return "".join(chance.choices(string.printable, k=chance.randrange(most)))
    return chance.choice(TEXTS) + chance.choice(("a", "crack", "line-1")) + chance.choice(TEXTS)


def value(chance: random.Random, depth: int = 3) -> Any:
    """Anything that JSON can say, and a little more (NaN, halves of surrogate pairs)."""
    kind = chance.randrange(7 if depth else 4)
    if kind == 0:
        return chance.choice((None, True, False))
    if kind == 1:
        return number(chance)
    if kind < 4:
        return text(chance)
    many = chance.choice((0, 1, 2, 3, 3, 50))
    if kind < 6:
        return [value(chance, depth - 1) for _ in range(min(many, 3))] * max(1, many // 3)
    return {key(chance): value(chance, depth - 1) for _ in range(min(many, 4))}


def key(chance: random.Random) -> str:
    """Of a table or an object."""
    return chance.choice(KEYS) if chance.random() < 0.7 else text(chance, 20)


def damaged(chance: random.Random, data: bytes) -> bytes:
    """`data` with a few bytes flipped, replaced, put in, taken out, doubled or cut off."""
    changed = bytearray(data)
    for _ in range(chance.choice((1, 1, 2, 4, 16))):
        if not changed:
            return chance.randbytes(chance.randrange(64))
        place, kind = chance.randrange(len(changed)), chance.randrange(7)
        end = min(len(changed), place + chance.choice((1, 2, 8, 64, 1024)))
        if kind == 0:
            changed[place] ^= 1 << chance.randrange(8)
        elif kind == 1:
            magic = chance.choice(_MAGIC)
            changed[place : place + len(magic)] = magic
        elif kind == 2:
            changed[place:place] = chance.randbytes(chance.choice((1, 4, 100)))
        elif kind == 3:
            del changed[place:end]
        elif kind == 4:
            changed[place:place] = changed[place:end] * chance.choice((1, 2, 30))
        elif kind == 5:
            changed[place:end] = chance.randbytes(end - place)
        elif chance.random() < 0.3:
            del changed[place:]
    return bytes(changed)


def replaced(chance: random.Random, document: Any, make: Callable[[random.Random], Any] = value) -> Any:
    """A copy of tables and lists in which something, anywhere, is another value, is gone, or is there besides."""
    if isinstance(document, dict) and document and chance.random() < 0.9:
        changed = dict(document)
        name = chance.choice(list(changed))
        kind = chance.randrange(10)
        if kind == 0:
            del changed[name]
        elif kind == 1:
            changed[key(chance)] = make(chance)
        elif kind == 2:
            changed[key(chance)] = changed.pop(name)
        else:
            changed[name] = replaced(chance, changed[name], make)
        return changed
    if isinstance(document, (list, tuple)) and document and chance.random() < 0.9:
        items = list(document)
        place = chance.randrange(len(items))
        kind = chance.randrange(6)
        if kind == 0:
            return items * chance.choice((0, 2, 100))
        if kind == 1:
            items.insert(place, make(chance))
        else:
            items[place] = replaced(chance, items[place], make)
        return items
    return make(chance)


def nested(chance: random.Random) -> bytes:
    """JSON or TOML whose only content is depth."""
    opening = chance.choice((b"[", b'{"a":', b"{a=", b"[[", b'{"part_id":', b"[{"))
    return opening * chance.choice((10, 100, 1000, 20_000))


def toml(document: Any, chance: random.Random | None = None) -> str:
    """TOML of tables, one key a line; what TOML cannot say stands there all the same, for the reader to refuse."""
    lines: list[str] = []

    def table(path: Sequence[str], content: dict[str, Any]) -> None:
        inner = {name: part for name, part in content.items() if isinstance(part, dict)}
        if path:
            lines.append(f"[{'.'.join(map(_key, path))}]")
        lines.extend(f"{_key(name)} = {_inline(part)}" for name, part in content.items() if name not in inner)
        for name, part in inner.items():
            table((*path, name), part)

    if not isinstance(document, dict):
        return _inline(document)
    table((), document)
    if chance is not None and chance.random() < 0.1:
        chance.shuffle(lines)
    return "\n".join(lines) + "\n"


def _key(name: str) -> str:
    return name if name and name.isascii() and name.replace("-", "").replace("_", "").isalnum() else json.dumps(name)


def _inline(part: Any) -> str:
    if isinstance(part, dict):
        return "{" + ", ".join(f"{_key(name)} = {_inline(inner)}" for name, inner in part.items()) + "}"
    if isinstance(part, (list, tuple)):
        return "[" + ", ".join(map(_inline, part)) + "]"
    if isinstance(part, float):
        return repr(part)
    if isinstance(part, int) and not isinstance(part, bool):
        return hex(part) if abs(part) > 10**300 else str(part)
    return json.dumps(part)
