"""The cameras of this machine that Video4Linux knows, and what they can give; nothing of them is changed."""

from __future__ import annotations

import fcntl
import os
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from edge.camera.errors import SourceError

Ioctl = Callable[[int, int, bytearray], object]
"""As of `fcntl.ioctl`: a file, a request, and what is given and taken."""

# linux/videodev2.h; what these ask of holds no pointers, and is the same on all machines.
_QUERYCAP, _ENUM_FMT, _ENUM_FRAMESIZES, _ENUM_FRAMEINTERVALS = 0x80685600, 0xC0405602, 0xC02C564A, 0xC034564B
_CAPTURE, _HAS_DEVICE_CAPS, _DISCRETE = 0x1, 0x80000000, 1
_MOST = 256  # entries that are asked for; a driver may have no end
_CLASS, _BY_ID = Path("/sys/class/video4linux"), Path("/dev/v4l/by-id")


@dataclass(frozen=True)
class VideoDevice:
    """A camera."""

    source: str
    """Its path, by its id where it has one: that stays when it is plugged in elsewhere."""
    node: str
    """`/dev/video0`."""
    name: str


@dataclass(frozen=True)
class VideoMode:
    """A format, and what sizes and rates it has."""

    format: str
    """Its four letters, as `MJPG`."""
    description: str
    sizes: tuple[str, ...]
    """`1920x1080 at 30, 15`, in frames per second; or the bounds, `16x16 to 1920x1080`."""


def find(devices: Path = _CLASS, by_id: Path = _BY_ID) -> list[VideoDevice]:
    """The devices that give pictures; others, which give metadata for instance, are left out."""
    ids = {str(path.resolve()): str(path) for path in sorted(by_id.glob("*"), reverse=True)} if by_id.is_dir() else {}
    found = []
    for entry in sorted(devices.glob("video*"), key=lambda path: (len(path.name), path.name)):
        node = f"/dev/{entry.name}"
        if _captures(node):
            found.append(VideoDevice(ids.get(node, node), node, (entry / "name").read_text().strip()))
    return found


def modes(path: str, ioctl: Ioctl = fcntl.ioctl) -> list[VideoMode]:
    """What the device at `path` can give.

    Raises:
        SourceError: it cannot be opened, or is no camera.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_NONBLOCK)
    except OSError as error:
        raise SourceError(f"{path}: {error.strerror}; is it plugged in, and the user in the group video?") from error
    try:
        capability = bytearray(104)
        ioctl(descriptor, _QUERYCAP, capability)
        return [_mode(descriptor, entry, ioctl) for entry in _entries(descriptor, _ENUM_FMT, "<II", (1,), 64, ioctl)]
    except OSError as error:
        raise SourceError(f"{path}: it is no camera: {error.strerror}") from error
    finally:
        os.close(descriptor)


def _captures(node: str, ioctl: Ioctl = fcntl.ioctl) -> bool:
    try:
        descriptor = os.open(node, os.O_RDWR | os.O_NONBLOCK)
    except PermissionError:
        return True  # it may; who opens it hears of the rights that are missing
    except OSError:
        return False
    try:
        capability = bytearray(104)
        ioctl(descriptor, _QUERYCAP, capability)
        of_all, of_this = struct.unpack_from("<II", capability, 84)
        return bool((of_this if of_all & _HAS_DEVICE_CAPS else of_all) & _CAPTURE)
    except OSError:
        return False
    finally:
        os.close(descriptor)


def _mode(descriptor: int, entry: bytearray, ioctl: Ioctl) -> VideoMode:
    (code,) = struct.unpack_from("<I", entry, 44)
    sizes = []
    for size in _entries(descriptor, _ENUM_FRAMESIZES, "<II", (code,), 44, ioctl):
        (kind,) = struct.unpack_from("<I", size, 8)
        if kind != _DISCRETE:
            narrow, wide, _, low, high, _ = struct.unpack_from("<6I", size, 12)
            sizes.append(f"{narrow}x{low} to {wide}x{high}")
            break
        width, height = struct.unpack_from("<II", size, 12)
        rates = _rates(descriptor, code, width, height, ioctl)
        sizes.append(f"{width}x{height}" + (f" at {', '.join(rates)}" if rates else ""))
    description = bytes(entry[12:44]).split(b"\0")[0].decode(errors="replace")
    return VideoMode(struct.pack("<I", code).decode("latin-1").strip(), description, tuple(sizes))


def _rates(descriptor: int, code: int, width: int, height: int, ioctl: Ioctl) -> list[str]:
    rates = []
    for entry in _entries(descriptor, _ENUM_FRAMEINTERVALS, "<IIII", (code, width, height), 52, ioctl):
        kind, above, below = struct.unpack_from("<III", entry, 16)
        if kind == _DISCRETE and above:
            rates.append(f"{below / above:g}")
    return rates


def _entries(
    descriptor: int, request: int, form: str, asked: tuple[int, ...], size: int, ioctl: Ioctl
) -> Iterator[bytearray]:
    """What a list of the driver holds: it is asked for entry after entry, until there is none."""
    for index in range(_MOST):
        entry = bytearray(size)
        struct.pack_into(form, entry, 0, index, *asked)
        try:
            ioctl(descriptor, request, entry)
        except OSError:
            return
        yield entry
