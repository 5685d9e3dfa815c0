"""What people hand in as a picture: arrays, Pillow's images and paths become frames, or are refused with a remedy."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from itertools import chain
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from core import MOST_PIXELS
from core.bit_depth import BitDepth
from core.image import ImageError, Rgb, check_shape, from_opencv, read
from core.picture_files import no_pictures, pictures_in

Picture: TypeAlias = "NDArray[Any] | Image.Image | str | os.PathLike[str]"
"""An array, uint8 [H, W, 3], [H, W, 4] (opaque), [H, W, 1] or [H, W] (grey); an image of Pillow; or a path."""

Pictures: TypeAlias = "Iterable[Picture] | os.PathLike[str]"
"""Several pictures in their order; or a folder, by its path."""

COLOURS = ("rgb", "bgr")
"""Orders of an array's channels; images of Pillow and files know theirs."""

_REMEDIES = {
    errno.EACCES: "make it readable",
    errno.EFBIG: "give a smaller file",
    errno.EISDIR: "give one of its pictures, or a list of them to judge_all",
    errno.ENOENT: "check the path, and the folder that it begins in",
    errno.ENOTDIR: "check the path, and the folder that it begins in",
}
_NOTHING = object()
_SIXTEEN_BITS = "(picture >> 8).astype(np.uint8), or >> 4 where 12 bits are used"
_WITH_ALPHA = ("LA", "La", "PA", "RGBA", "RGBa")
_DEEP_MODES = {"I": "32 bits", "F": "floating point", "1": "1 bit"}


def check_frame(frame: object, name: str = "the frame") -> None:
    """Raises ImageError, with a remedy, unless `frame` is what the method takes: uint8 [H, W, 3], not empty."""
    array = _array(frame, name)
    _check_shape(array, (3,), name)
    _check_type(array, name)


def check_frames(frames: Sequence[object]) -> None:
    """Raises ImageError, with a remedy, unless `frames` is a list of frames, one at least."""
    if isinstance(frames, np.ndarray) and frames.ndim < 4:
        raise ImageError("frames are one array; give a list of frames, uint8 [H, W, 3]")
    if not isinstance(frames, (Sequence, np.ndarray)) or isinstance(frames, str):
        raise ImageError(f"frames are {kind_of(frames)}; give a list of frames, uint8 [H, W, 3]")
    if not len(frames):
        raise ImageError("there is no frame; give one or more")
    for place, frame in enumerate(frames):
        check_frame(frame, f"frame {place}")


def to_frame(picture: object, colour: str = "rgb", name: str = "the picture", depth: BitDepth | None = None) -> Rgb:
    """A picture as a frame of its own, uint8 [H, W, 3], RGB, which no later change of the picture reaches.

    Args:
        picture: A `Picture`.
        colour: Order of an array's channels, one of `COLOURS`.
        name: What messages call it.
        depth: What a file of 16 bits uses of them. Default: as its values say.

    Raises:
        ImageError: it is no picture, or one of the wrong type, shape, channels, bit depth or size; or it shows nothing.
            The message says what to do.
    """
    if isinstance(picture, (str, os.PathLike)):
        frame, name = _of_file(picture, depth), _called(picture, name)
    elif isinstance(picture, Image.Image):
        frame = _of_pillow(picture, name)
    else:
        frame = _of_array(_array(picture, name), colour, name)
    _check_size(frame.shape[0], frame.shape[1], name)
    if _is_uniform(frame):
        level = ", ".join(str(value) for value in frame[0, 0])
        raise ImageError(f"{name} shows nothing: all its pixels are ({level}); check the camera, and show it a part")
    if not _reaches(frame, 2):
        raise ImageError(
            f"{name} is black: no value is above 1; of floats from 0 to 1 give (picture * 255).round().astype(np.uint8)"
        )
    return frame


def check_colour(colour: object) -> None:
    """Raises ImageError unless `colour` is one of `COLOURS`."""
    if colour not in COLOURS:
        raise ImageError(f"colour {colour!r} is not known; use 'rgb', or 'bgr' for what cv2 reads")


def each(pictures: object, name: str) -> Iterator[tuple[str, object]]:
    """The pictures of a list, or of anything else that has an order, each with the name that messages call it.

    A stack [N, H, W, C] is a list too, and so are the files in a folder, sorted; not those below it, as `good/bad` may
    be there. One picture alone is none, as its rows would pass for pictures.

    Raises:
        ImageError: it is no list of pictures, or an empty one.
    """
    if isinstance(pictures, np.ndarray) and pictures.ndim == 1 and pictures.dtype.kind in "OU":
        pictures = pictures.tolist()  # paths, or pictures of several sizes
    if isinstance(pictures, np.ndarray) and pictures.ndim != 4:
        raise ImageError(f"{name} {_are(pictures)}, which is one picture; give a list: [picture]")
    if isinstance(pictures, (str, os.PathLike)):
        pictures = _in_folder(Path(pictures), name)
    if isinstance(pictures, Image.Image):
        raise ImageError(f"{name} is one picture; give a list: [picture]")
    if isinstance(pictures, (Mapping, Set)):
        raise ImageError(f"{name} is a {type(pictures).__name__}, which has no order; give a list of pictures")
    if _is_tensor(pictures):
        raise ImageError(f"{name} is a torch tensor; give a list of arrays, uint8 [H, W, 3]")
    if not isinstance(pictures, Iterable):
        raise ImageError(f"{name} is {kind_of(pictures)}; give a list of pictures")
    rest = iter(pictures)
    first = next(rest, _NOTHING)
    if first is _NOTHING:
        raise ImageError(f"{name} holds no picture; give one or more, and check the folder or pattern")
    return ((_called(picture, f"{name}[{place}]"), picture) for place, picture in enumerate(chain([first], rest)))


def _in_folder(folder: Path, name: str) -> list[Path]:
    if not folder.is_dir() and "*" in str(folder):
        raise ImageError(f"{name} is the pattern {str(folder)!r}; give sorted(Path().glob({str(folder)!r}))")
    if not folder.is_dir():
        raise ImageError(f"{name} is {str(folder)!r}, which is no folder; for one picture give a list: [picture]")
    try:
        found = pictures_in(folder)
    except OSError as error:
        raise ImageError(f"{folder}: {error.strerror}; make it readable") from error
    if not found:
        raise ImageError(no_pictures(folder))
    return found


def _called(picture: object, name: str) -> str:
    return os.fspath(picture) if isinstance(picture, (str, os.PathLike)) else name


def _array(picture: object, name: str) -> NDArray[Any]:
    """`picture`, if it is an array; else ImageError, which guesses how it came here."""
    if isinstance(picture, np.ndarray):
        return picture
    if picture is None:
        raise ImageError(f"{name} is None; cv2.imread and a camera give that where they read nothing: check the path")
    if _is_tensor(picture):
        raise ImageError(f"{name} is a torch tensor {_shape(picture)}; give {_from_tensor(picture)}")
    if isinstance(picture, (bytes, bytearray, memoryview)):
        raise ImageError(f"{name} is the bytes of a file; give Image.open(io.BytesIO(picture)), or the file's path")
    if isinstance(picture, (list, tuple)):
        raise ImageError(f"{name} is {kind_of(picture)}; give one picture, or several to judge_all")
    raise ImageError(f"{name} is {kind_of(picture)}; give an array, uint8 [H, W, 3]")


def _of_file(path: str | os.PathLike[str], depth: BitDepth | None) -> Rgb:
    try:
        return read(Path(path), depth)
    except ImageError as error:
        number = error.__cause__.errno if isinstance(error.__cause__, OSError) else None
        if number is None:
            raise
        raise ImageError(f"{error}; {_REMEDIES.get(number, 'copy the file again')}") from error


def _of_array(array: NDArray[Any], colour: str, name: str) -> Rgb:
    check_colour(colour)
    array = array[..., None] if array.ndim == 2 else array
    _check_shape(array, (1, 3, 4), name)
    _check_type(array, name)
    _check_size(array.shape[0], array.shape[1], name)  # before it is copied
    if array.shape[2] == 4 and int(array[..., 3].min()) < 255:
        raise ImageError(f"{name} has transparent pixels; put it on a background, or give picture[..., :3]")
    if array.shape[2] == 1 or colour == "bgr":
        return from_opencv(np.ascontiguousarray(array))
    return np.array(array[..., :3], order="C")


def _of_pillow(image: Image.Image, name: str) -> Rgb:
    _check_size(image.height, image.width, name)  # before it is decoded
    try:
        image.load()
    except (OSError, SyntaxError, ValueError) as error:  # a file that is cut short, closed, or not what it says
        raise ImageError(f"{name} cannot be read ({error}); open it anew, or copy its file again") from error
    if image.mode.startswith("I;16"):
        raise ImageError(
            f"{name} has 16 bits (mode {image.mode}); take picture = np.asarray(image), give {_SIXTEEN_BITS}"
        )
    if image.mode in _DEEP_MODES:
        depth = _DEEP_MODES[image.mode]
        raise ImageError(f"{name} has {depth} (mode {image.mode}); scale it to 0..255, and give an array, uint8")
    try:
        with_alpha = image.mode in _WITH_ALPHA or "transparency" in image.info
        pixels = np.array(image.convert("RGBA" if with_alpha else "RGB"))
    except ValueError as error:
        raise ImageError(f"{name} is of mode {image.mode}: {error}; give one of mode RGB") from error
    if with_alpha and int(pixels[..., 3].min()) < 255:
        raise ImageError(
            f"{name} has transparent pixels (mode {image.mode}); put it on a background, or give image.convert('RGB')"
        )
    return np.ascontiguousarray(pixels[..., :3])


def _check_shape(array: NDArray[Any], channels: tuple[int, ...], name: str) -> None:
    shape = list(array.shape)
    if array.ndim == 4:
        raise ImageError(f"{name} {_are(array)}, a batch; give one picture, picture[0], or all of them to judge_all")
    if array.ndim == 3 and shape[0] in (1, 3, 4) and shape[2] not in (1, 3, 4):
        raise ImageError(f"{name} {_are(array)}, channels first; give picture.transpose(1, 2, 0)")
    if array.ndim == 2 and 1 not in channels:
        raise ImageError(f"{name} {_are(array)}, grey; give three channels: np.dstack([picture] * 3)")
    if array.ndim != 3 or shape[2] not in channels:
        wanted = "[H, W, 3]" if channels == (3,) else "[H, W, 3], or [H, W] for grey"
        raise ImageError(f"{name} {_are(array)}; give {wanted}")
    if not array.size:
        raise ImageError(f"{name} {_are(array)}, which is empty; check how it was cut out")


def _check_type(array: NDArray[Any], name: str) -> None:
    """Raises ImageError for all but uint8; where values tell how they came about, with the way back."""
    if array.dtype == np.uint8:
        return
    kind = f"{name} has pixels of type {array.dtype}"
    if array.dtype == np.bool_:
        raise ImageError(f"{kind}, a mask; give the picture itself, uint8 from 0 to 255")
    if array.dtype == np.uint16:
        raise ImageError(f"{kind}, 16 bits; give 8: {_SIXTEEN_BITS}")
    if array.dtype.kind not in "iuf":
        raise ImageError(f"{kind}; give uint8 from 0 to 255")
    low, high = float(array.min()), float(array.max())
    if not np.isfinite([low, high]).all():
        raise ImageError(f"{kind}, and holds {low if np.isfinite(high) else high}; give uint8 from 0 to 255")
    if low >= 0 and high <= 1 and array.dtype.kind == "f":
        remedy = "(picture * 255).round().astype(np.uint8)"
    elif low >= 0 and high <= 255:
        remedy = "picture.round().astype(np.uint8)" if array.dtype.kind == "f" else "picture.astype(np.uint8)"
    elif low < 0 and array.dtype.kind == "f":
        raise ImageError(
            f"{kind} from {low:.3g} to {high:.3g}, as after a normalisation; give the picture before that step"
        )
    else:
        raise ImageError(f"{kind} from {low:.6g} to {high:.6g}; scale them to 0..255, and give uint8")
    raise ImageError(f"{kind} from {low:.3g} to {high:.3g}; give {remedy}")


def _check_size(height: int, width: int, name: str) -> None:
    if height * width > MOST_PIXELS:
        raise ImageError(
            f"{name} has {height} x {width} pixels, more than {MOST_PIXELS // 1_000_000} million; "
            "cut the part out, or make the picture smaller"
        )
    check_shape(height, width, name)


def _reaches(frame: Rgb, level: int) -> bool:
    """Whether a value is at or above `level`; a sample tells of nearly all frames that one is."""
    return any(int(some.max()) >= level for some in (frame[::16, ::16], frame))


def _is_uniform(frame: Rgb) -> bool:
    """Whether all pixels are the same; a sample tells of nearly all frames that they are not."""
    return all(bool((some == frame[0, 0]).all()) for some in (frame[::16, ::16], frame))


def _is_tensor(value: object) -> bool:
    return type(value).__module__.partition(".")[0] == "torch" and hasattr(value, "cpu")


def _from_tensor(tensor: Any) -> str:
    """How an array comes of a tensor."""
    order = ".permute(1, 2, 0)" if tensor.ndim == 3 and tensor.shape[0] in (1, 3, 4) else ""
    scaled = f"(picture{order} * 255).round().byte()" if tensor.is_floating_point() else f"picture{order}"
    return f"{scaled}.cpu().numpy()"


def _shape(value: Any) -> str:
    return f"[{', '.join(str(length) for length in value.shape)}]"


def _are(array: NDArray[Any]) -> str:
    return f"has the shape {_shape(array)}"


def kind_of(value: object) -> str:
    """The type of `value` in words: `a list`, `an int` or `None`."""
    kind = type(value).__name__
    return "None" if value is None else f"{'an' if kind[0].lower() in 'aeiou' else 'a'} {kind}"
