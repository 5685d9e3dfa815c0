"""Pictures: decoded, checked as a camera's frame, passed between processes, read from a folder, imported as a shot."""

from __future__ import annotations

import hashlib
import json
import os
import random
import struct
import zlib
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from core.bank.memory import Memory
from core.bank.memory_bank import BANK_TABLES, Bank, BankError
from core.bank.shot_checks import check_shot, look_at
from core.bank.shot_folder import import_shots
from core.database.database import open_database
from core.encoding import Encoding
from core.image import ImageError, Rgb, decode, read
from edge.camera.errors import SourceError
from edge.camera.frame import Frame, FrameError
from edge.camera.health import FrameHealth
from edge.camera.pictures import Folder
from edge.settings import HealthSettings
from tests.fuzz import hostile
from tests.fuzz.tally import Outcome

_REFUSALS = (ImageError, BankError, FrameError, SourceError)
_SUFFIXES = (".png", ".jpg", ".bmp", ".tiff", ".webp", ".pgm", ".ppm")
_WHEN = datetime(2026, 1, 31, 6, 0, tzinfo=timezone.utc)
_ENCODING = Encoding("a" * 64, 1, (("window:2", (1, 8)), ("patch", (1, 8))))


class Pictures:
    """Each is read, or refused in words; none takes gigabytes."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "pictures"
        self._folder.mkdir()
        self._export = folder / "export"
        self._export.mkdir()
        noise = np.random.default_rng(1)
        self._bases: list[bytes] = []
        for suffix in _SUFFIXES:
            for shape in ((40, 56, 3), (33, 17), (9, 12, 3)):
                picture = noise.integers(0, 256, shape, dtype=np.uint8)
                if (suffix == ".ppm") > (len(shape) == 3):  # it has colours, and a PGM has none
                    continue
                if suffix == ".pgm" and len(shape) == 3:
                    picture = picture[..., 0]
                done, data = cv2.imencode(suffix, picture)
                assert done
                self._bases.append(data.tobytes())
        self._database = open_database(folder / "state.db", [BANK_TABLES])
        self._bank = Bank(self._database)
        self._health = FrameHealth(HealthSettings(blur=1.0))
        self._others = [look_at(noise.integers(0, 256, (64, 64, 3), dtype=np.uint8), "shot 1")]

    def run(self, chance: random.Random) -> Outcome:
        data = self._picture(chance)
        ways: tuple[Callable[[random.Random, bytes], Rgb | None], ...] = (
            self._decoded,
            self._of_folder,
            self._imported,
        )
        try:
            image = chance.choice((self._decoded, *ways))(chance, data)
            if image is not None:
                self._check(chance, image)
        except _REFUSALS as error:
            return Outcome(refused=True, said=str(error))
        return Outcome(refused=False)

    def close(self) -> None:
        self._database.close()

    def _picture(self, chance: random.Random) -> bytes:
        kind = chance.randrange(10)
        base = chance.choice(self._bases)
        if kind < 5:
            return hostile.damaged(chance, base)
        if kind == 5:
            return base[: chance.randrange(len(base))]
        if kind == 6:
            return _bomb(chance)
        if kind == 7:
            return base + chance.randbytes(chance.choice((1, 100, 5000)))
        if kind == 8:
            head = chance.choice(
                (
                    b"GIF89a",
                    b"\x00\x00\x00\x20ftypavif",
                    b"#?RADIANCE\n",
                    b"v/1\x01",
                    b"\x59\xa6\x6a\x95",
                    b"qoif",
                    b"%PDF-1.7",
                    b"<svg",
                    b"\x00\x00\x00\x0cjP  ",
                )
            )
            return head + chance.randbytes(chance.choice((0, 30, 3000)))
        return chance.randbytes(chance.choice((0, 1, 8, 200)))

    def _decoded(self, _chance: random.Random, data: bytes) -> Rgb:
        return decode(data, "frame 1")

    def _of_folder(self, chance: random.Random, data: bytes) -> Rgb | None:
        path = self._folder / f"part{chance.choice(_SUFFIXES)}"
        path.unlink(missing_ok=True)
        if chance.random() < 0.1:
            os.mkfifo(path)
        elif chance.random() < 0.1:
            path.symlink_to("/dev/zero")
        else:
            path.write_bytes(data)
        try:
            if chance.random() < 0.5:
                return read(path)
            source = Folder(self._folder, loop=False)
            return source.retrieve() if source.grab() else None
        finally:
            path.unlink()

    def _imported(self, chance: random.Random, data: bytes) -> Rgb | None:
        """A folder as `shots export` writes it; the hash is right, the picture or the manifest is not."""
        file = self._export / "shot-000001.png"
        file.write_bytes(data)
        entry: dict[str, Any] = {
            "file": file.name,
            "sha256": hashlib.sha256(data).hexdigest(),
            "class_name": "cap",
            "added_at": "2026-01-31T06:00:00Z",
            "who": "ana",
            "source": "camera",
            "note": "",
            "flags": [{"code": "blurred", "message": "x"}],
        }
        manifest: Any = {"format": 1, "line": "press", "shots": [entry]}
        if chance.random() < 0.5:
            manifest = hostile.replaced(chance, manifest)
        text = (
            json.dumps(manifest).encode()
            if chance.random() < 0.9
            else hostile.damaged(chance, json.dumps(manifest).encode())
        )
        (self._export / "shots.json").write_bytes(text)
        seen: list[Rgb] = []

        def embed(image: Rgb) -> dict[int, Memory]:
            seen.append(image)
            raise BankError("it is a picture, and that is all that is asked here")

        import_shots(self._bank, self._export, "press", lambda _: _ENCODING, embed, at=_WHEN, who="eva")
        return seen[0] if seen else None

    def _check(self, chance: random.Random, image: Rgb) -> None:
        health = self._health.check(image, chance.random() * 1000, live=chance.random() < 0.8)
        frame = Frame(image, 1, 0, _WHEN, 1.0, 2.0, health=health)
        again = Frame.from_parts(list(frame.to_parts()))
        assert again.image.shape == image.shape
        check_shot(image, self._others, 0.5, 0.5)


def _bomb(chance: random.Random) -> bytes:
    """A few bytes that say that they are a very large picture, with or without its pixels."""
    sides = (1, 2, 255, 9000, 9500, 20_000, 65_500, 100_000, 2**31 - 1)
    width, height = chance.choice(sides), chance.choice(sides)
    kind = chance.randrange(4)
    if kind == 0:
        return b"BM" + struct.pack(
            "<IHHIIiiHHIIiiII", 54, 0, 0, 54, 40, width, chance.choice((1, -1)) * height, 1, 24, 0, 0, 0, 0, 0, 0
        )
    if kind == 1:
        return f"P{chance.choice('123456')}\n{width} {height}\n255\n".encode() + bytes(100)
    if kind == 2:
        start = b"\xff\xd8\xff\xc0\x00\x11\x08" + struct.pack(">HH", height & 0xFFFF, width & 0xFFFF)
        return start + b"\x03\x01\x22\x00\x02\x11\x01\x03\x11\x01" + b"\xff\xda" + bytes(50)
    depth, colour = chance.choice(((8, 2), (16, 6), (8, 0), (1, 0)))
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, chance.choice((0, 1)))
    pixels = 3 * width * min(height, 3_000_000 // max(width, 1) + 1) if width < 70_000 else 1000
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        map(_chunk, (b"IHDR", b"IDAT", b"IEND"), (header, zlib.compress(bytes(min(pixels, 20_000_000)), 1), b""))
    )


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
