"""What may be wrong with a picture that is to become a shot; each flag is a question to a person, not a refusal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from core.bank.turn_check import centre, turn_between
from core.image import Rgb
from core.picture_check import ALIKE, PictureFault
from core.structure import Structure, structure_of

_SIDE = 256  # pixels; the model sees no more of a frame than about this, so that finer blur or noise is none of ours
_THUMB = 32  # cells along each side of the thumbnail that two pictures are compared by: noise averages out in them
_DARK, _BRIGHT = 5, 250  # grey levels at and beyond which a pixel is clipped

_DARK_SHARE = 0.5
"""Share of dark pixels, beyond that of the line's other shots. Black mats are common, half a picture of black less."""
_BRIGHT_SHARE = 0.3
_LEAST_MEAN, _MOST_MEAN = 20.0, 235.0
"""Mean grey levels where there are no other shots. Simulated parts have 21 on black mats and 230 on white ones."""
_MEAN_RATIO = 1.5
"""How far a mean may be from the others': the parts of one simulated line differ by up to a quarter."""
_LEAST_SHARPNESS = 0.5
"""Where there are no other shots. A smooth part has no more than a blurred one of another kind: glass and painted
panels are flagged too, and a slightly blurred picture of a rich texture is not."""
_SHARPNESS_RATIO = 0.5
"""Of the others' median. Good parts of one simulated line have 0.7 of it or more; blurred by 1 % of the side, 0.3."""
_SAME = 0.5
"""Grey levels (RMS) between thumbnails. The same still part again, with noise of 3 levels a pixel, gives 0.3; two parts
of a simulated line 0.5 or more, all but bare glass."""


FLAGS = ("flat", "size", "blurred", "under_exposed", "over_exposed", "near_duplicate", "turned", "anomalous")
"""Every code, in the order in which a picture's flags come."""


@dataclass(frozen=True)
class Flag:
    """Something about a shot that needs an explicit yes.

    Attributes:
        code: One of `FLAGS`.
        message: In words, with the measured figure and its limit.
    """

    code: str
    message: str


@dataclass(frozen=True, eq=False)
class Look:
    """What is kept of a picture to compare others with; some 8 kB.

    Attributes:
        name: How a message calls it.
        sharpness: Variance of the Laplacian of the slightly smoothed picture of at most 256 pixels a side.
        mean: Mean grey level, 0..255.
        dark: Share of pixels with all channels clipped at the dark end.
        bright: Share of pixels with all channels clipped at the bright end.
        thumb: Grey levels, float32 [32, 32].
        centre: Those of the centre square, in which a turn is one whatever the picture's proportions.
        structure: What the picture shows at all.
    """

    name: str
    sharpness: float
    mean: float
    dark: float
    bright: float
    thumb: NDArray[np.float32]
    centre: NDArray[np.float32]
    structure: Structure


def look_at(image: Rgb, name: str = "another shot") -> Look:
    """What to keep of a picture uint8 [H, W, 3]."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    height, width = grey.shape
    scale = min(1.0, _SIDE / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = cv2.resize(grey, size, interpolation=cv2.INTER_AREA).astype(np.float32)
    smooth = cv2.GaussianBlur(small, (0, 0), 1.0)  # or a sensor's noise would pass for detail
    return Look(
        name=name,
        sharpness=float(cv2.Laplacian(smooth, cv2.CV_32F).var()),
        mean=float(grey.mean()),
        dark=float((image.max(2) <= _DARK).mean()),
        bright=float((image.min(2) >= _BRIGHT).mean()),
        thumb=np.asarray(cv2.resize(grey.astype(np.float32), (_THUMB, _THUMB), interpolation=cv2.INTER_AREA)),
        centre=centre(grey.astype(np.float32)),
        structure=structure_of(image),
    )


def check_shot(
    image: Rgb,
    others: Sequence[Rgb | Look],
    score: float | None = None,
    threshold: float | None = None,
    turns: Sequence[int] = (0,),
    size: tuple[int, int] | None = None,
    fault: PictureFault | None = None,
) -> tuple[Flag, ...]:
    """Flags of a picture uint8 [H, W, 3], in the order of `FLAGS`; none when nothing is wrong.

    Args:
        image: The picture.
        others: The line's other active shots, or what `look_at` kept of them.
        score: What the line's scoring says of the picture, in [0, 1].
        threshold: From which score on the line calls a part anomalous.
        turns: By which degrees the line knows its shots turned (see `core.bank.augment.turns`).
        size: Height and width of the pictures that the line inspects, pixels; None where that is not known.
        fault: Why no picture like this is judged; None where it would be.
    """
    look = look_at(image)
    known = [other if isinstance(other, Look) else look_at(other) for other in others]
    found = [
        *([] if fault is None else [Flag("flat", fault.message)]),
        *_size(image, size),
        *_blur(look, known),
        *_exposure(look, known),
        *_duplicate(look, known),
        *_turned(look, known, turns),
    ]
    if score is not None and threshold is not None and score >= threshold:
        found.append(Flag("anomalous", f"scores {score:.3f}, the line's threshold is {threshold:.3f}"))
    return tuple(found)


def _size(image: Rgb, size: tuple[int, int] | None) -> list[Flag]:
    height, width = image.shape[:2]
    if size is None or (height, width) == size:
        return []
    if abs(width * size[0] / (height * size[1]) - 1) <= ALIKE:
        words = "it is the same region at another size, or another region: take it with the line's camera"
    elif height >= size[0] and width >= size[1]:
        words = "it looks like a whole frame: cut the inspected region out of it"
    else:
        words = "it shows another region: give a picture of the inspected region alone, all of it"
    return [Flag("size", f"has {width} x {height} pixels, the line inspects {size[1]} x {size[0]}; {words}")]


def _blur(look: Look, known: Sequence[Look]) -> list[Flag]:
    if known:
        usual = float(np.median([other.sharpness for other in known]))
        limit, origin = _SHARPNESS_RATIO * usual, f"{_SHARPNESS_RATIO:.0%} of the other shots' {usual:.3g}"
    else:
        limit, origin = _LEAST_SHARPNESS, "with no other shot to go by"
    if look.sharpness >= limit:
        return []
    return [Flag("blurred", f"sharpness {look.sharpness:.3g} is below {limit:.3g} ({origin})")]


def _exposure(look: Look, known: Sequence[Look]) -> list[Flag]:
    least, most, dark, bright = _LEAST_MEAN, _MOST_MEAN, _DARK_SHARE, _BRIGHT_SHARE
    origin = "with no other shot to go by"
    if known:
        usual = float(np.median([other.mean for other in known]))
        least, most = usual / _MEAN_RATIO, usual * _MEAN_RATIO
        dark += float(np.median([other.dark for other in known]))
        bright += float(np.median([other.bright for other in known]))
        origin = f"the other shots have {usual:.0f}"
    found = []
    if look.mean < least:
        found.append(Flag("under_exposed", f"mean grey level {look.mean:.0f} is below {least:.0f} ({origin})"))
    elif look.dark > dark:
        found.append(Flag("under_exposed", f"{look.dark:.0%} of the pixels are black, the limit is {dark:.0%}"))
    if look.mean > most:
        found.append(Flag("over_exposed", f"mean grey level {look.mean:.0f} is above {most:.0f} ({origin})"))
    elif look.bright > bright:
        found.append(Flag("over_exposed", f"{look.bright:.0%} of the pixels are white, the limit is {bright:.0%}"))
    return found


def _duplicate(look: Look, known: Sequence[Look]) -> list[Flag]:
    if not known:
        return []
    difference, nearest = min(
        ((_difference(look.thumb, other.thumb), other) for other in known), key=lambda pair: pair[0]
    )
    if difference >= _SAME:
        return []
    message = f"nearly the same picture as {nearest.name}: {difference:.2f} grey levels apart, the limit is {_SAME:.2f}"
    return [Flag("near_duplicate", message)]


def _turned(look: Look, known: Sequence[Look], turns: Sequence[int]) -> list[Flag]:
    found = turn_between(look.centre, [other.centre for other in known], turns)
    if found is None:
        return []
    message = (
        f"looks like {known[found.place].name} turned by about {found.degrees} degrees: "
        "if parts come turned, set lines.<line>.shots.augment = 'angles'"
    )
    return [Flag("turned", message)]


def _difference(thumb: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    """Grey levels (RMS) that are left of a thumbnail when the best multiple of another, and an offset, is taken off.

    So the lamp may have changed in between.
    """
    levels, reference = thumb - thumb.mean(), other - other.mean()
    gain = float((levels * reference).sum()) / max(float((reference * reference).sum()), 1e-9)
    return float((levels - gain * reference).std())
