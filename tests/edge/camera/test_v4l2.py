"""What Video4Linux says, in the layout of linux/videodev2.h: no camera is on the machines that run tests."""

from __future__ import annotations

import errno
import struct
from pathlib import Path

import pytest

from edge.camera.errors import SourceError
from edge.camera.v4l2 import find, modes

MJPG, YUYV, GREY = (int.from_bytes(code, "little") for code in (b"MJPG", b"YUYV", b"GREY"))
FORMATS = ((MJPG, b"Motion-JPEG"), (YUYV, b"YUYV 4:2:2"), (GREY, b"8-bit Greyscale"))
SIZES = {MJPG: ((1920, 1080), (640, 480)), YUYV: ((640, 480),)}
RATES = {(MJPG, 1920, 1080): ((1, 30), (1, 15)), (MJPG, 640, 480): ((1, 60),), (YUYV, 640, 480): ((2, 15),)}


def driver(_: int, request: int, entry: bytearray) -> None:
    """A webcam's driver; grey it gives in any size."""

    def one(entries: tuple[tuple[int, ...], ...], index: int) -> tuple[int, ...]:
        if index >= len(entries):
            raise OSError(errno.EINVAL, "no more")
        return entries[index]

    number, size = request & 0xFF, request >> 16 & 0x3FFF
    assert size == len(entry)
    (index,) = struct.unpack_from("<I", entry)
    if number == 2:
        (code, _) = one(tuple((code, 0) for code, _ in FORMATS), index)
        struct.pack_into("<32sI", entry, 12, dict(FORMATS)[code], code)
    elif number == 74:
        (code,) = struct.unpack_from("<I", entry, 4)
        if code == GREY:
            struct.pack_into("<I6I", entry, 8, 3, 16, 4096, 8, 16, 2160, 8)
        else:
            struct.pack_into("<III", entry, 8, 1, *one(SIZES[code], index))
    elif number == 75:
        struct.pack_into("<III", entry, 16, 1, *one(RATES[struct.unpack_from("<III", entry, 4)], index))


def test_formats_sizes_and_rates_are_told() -> None:
    found = modes("/dev/null", driver)
    assert [(one.format, one.description, one.sizes) for one in found] == [
        ("MJPG", "Motion-JPEG", ("1920x1080 at 30, 15", "640x480 at 60")),
        ("YUYV", "YUYV 4:2:2", ("640x480 at 7.5",)),
        ("GREY", "8-bit Greyscale", ("16x16 to 4096x2160",)),
    ]


def test_a_driver_without_end_is_asked_for_so_many() -> None:
    def endless(_: int, request: int, entry: bytearray) -> None:
        if request & 0xFF == 2:
            struct.pack_into("<32sI", entry, 12, b"any", MJPG)
        elif request & 0xFF in (74, 75):
            raise OSError(errno.EINVAL, "none")

    assert len(modes("/dev/null", endless)) == 256


def test_what_is_no_camera_is_said() -> None:
    with pytest.raises(SourceError, match="/dev/null: it is no camera"):
        modes("/dev/null")
    with pytest.raises(SourceError, match="/dev/video99: No such file"):
        modes("/dev/video99")


def test_a_machine_without_cameras_has_none(tmp_path: Path) -> None:
    assert find(tmp_path / "none", tmp_path / "none") == []
    (tmp_path / "video7").mkdir()
    (tmp_path / "video7" / "name").write_text("gone\n")
    assert find(tmp_path, tmp_path) == [], "it was unplugged at this very moment"
