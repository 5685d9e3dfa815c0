"""Whether a picture may be judged: one that shows nothing, or not what the enrolled shots show, tells of no part."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from core.structure import DARK, Structure

FaultCode: TypeAlias = Literal["flat", "over_exposed", "size"]

_MOST_NOISE = 25.0  # grey levels; no sensor has more, so that it is a pattern as fine as the pixels
_SHADING, _SHADING_OF_NOISE = 0.5, 0.1  # grey levels of an even picture, at most; a painted panel has 0.9 or more
_DARK_SHADING = 2.0  # a sensor's own glow has as much in the dark, where nothing is seen
_EVEN_TEXTURE, _EVEN_TEXTURE_OF_NOISE = 0.6, 0.5  # what a coder and a colour mosaic make of noise
_EVEN_SPOTS, _EVEN_SPOTS_OF_NOISE = 2.5, 2.5
_MOST_SHADING = 0.35
"""Contrast of shading, of its level: brightest and darkest place differ by 1 : 4 or so. One lamp does not light a plain
surface that unevenly; the contrast is of things, and something about them is sharp where the lens is in focus."""
_TEXTURE, _TEXTURE_OF_NOISE = 0.3, 0.25  # of which nothing is sharp
_SPOTS, _SPOTS_OF_NOISE = 1.2, 1.3
_SURE_TEXTURE = 2 * _TEXTURE  # shots with less have so little that the next part may have none
_OF_SHOTS = 0.25  # of the least texture of shots
_SPOTS_OF_SHOTS = 0.35
ALIKE = 0.02
"""By what share the proportions of two pictures of the same region may differ."""


@dataclass(frozen=True)
class PictureFault:
    """Why a picture is not judged.

    Attributes:
        code: Stable, for machines.
        message: For people, what the picture is or does; holds nothing that changes from picture to picture.
    """

    code: FaultCode
    message: str


@dataclass(frozen=True)
class ShotFigures:
    """What the enrolled shots of a part have in common.

    Attributes:
        count: How many they are.
        size: Height and width, where all have the same.
        texture: The least of theirs.
        spots: The least of theirs.
        bright: The largest share of saturated pixels of theirs.
        reasons: For which a shot would be refused itself. A person has enrolled it, so that they do not count.
    """

    count: int
    size: tuple[int, int] | None
    texture: float
    spots: float
    bright: float
    reasons: frozenset[str]

    @classmethod
    def of(cls, shots: Sequence[Structure]) -> ShotFigures | None:
        """None without shots."""
        if not shots:
            return None
        sizes = {shot.size for shot in shots}
        return cls(
            count=len(shots),
            size=sizes.pop() if len(sizes) == 1 else None,
            texture=min(shot.texture for shot in shots),
            spots=min(shot.spots for shot in shots),
            bright=max(shot.bright for shot in shots),
            reasons=frozenset(reason for shot in shots for reason in _reasons(shot)),
        )


def flat(structure: Structure, shots: ShotFigures | None = None) -> PictureFault | None:
    """What is against a picture that shows nothing: even grey, noise, a test picture, or nothing sharp at all.

    Without shots a plain part, as a pane of glass, and a plain part out of focus are the same; then only a picture is
    out of focus that shows things. With shots it is one that has a quarter of their texture.
    """
    for reason in _reasons(structure):
        if shots is None or reason not in shots.reasons:
            return PictureFault("flat", reason)
    if (
        shots is not None
        and shots.texture >= _SURE_TEXTURE
        and structure.texture <= _OF_SHOTS * shots.texture
        and structure.spots <= _SPOTS_OF_SHOTS * shots.spots
    ):
        return PictureFault("flat", _NOT_AS_SHOTS)
    return None


def over_exposed(structure: Structure, shots: ShotFigures | None, most: float) -> PictureFault | None:
    """What is against a picture of which much more is saturated than of the shots; `most`: a share, 0..1."""
    if shots is None or structure.bright <= shots.bright + most:
        return None
    message = f"is saturated in more places than any shot, by over {most:.0%} of its pixels"
    return PictureFault("over_exposed", f"{message}; check light and exposure, and that a part is there")


def other_size(structure: Structure, shots: ShotFigures | None) -> PictureFault | None:
    """What is against a picture of another size than all shots have, as a line's camera sees them."""
    if shots is None or shots.size is None or structure.size == shots.size:
        return None
    return PictureFault("size", f"has {_sizes(structure.size, shots.size)}")


def other_proportions(structure: Structure, shots: ShotFigures | None) -> PictureFault | None:
    """What is against a picture of other proportions than all of several shots have; files may be scaled."""
    if shots is None or shots.size is None or shots.count < 2:
        return None
    (height, width), (shots_height, shots_width) = structure.size, shots.size
    if abs(width * shots_height / (height * shots_width) - 1) <= ALIKE:
        return None
    message = f"shows another region: it has {_sizes(structure.size, shots.size)}; cut it out as they are"
    return PictureFault("size", message)


def _sizes(size: tuple[int, int], of_shots: tuple[int, int]) -> str:
    return f"{size[1]} x {size[0]} pixels, and all shots have {of_shots[1]} x {of_shots[0]}"


_EVEN = "shows nothing: it is even but for noise; check light, lens cap and cable, and that a part is there"
_DRAWN = "is a test picture: bars or a ramp without noise; switch the camera to its sensor"
_BLURRED = "has nothing sharp in it; check focus, and clean the lens"
_NOT_AS_SHOTS = "has less than a quarter of the shots' fine detail; check focus, and clean the lens"


def _reasons(structure: Structure) -> tuple[str, ...]:
    """Why a picture shows nothing, whatever is enrolled."""
    if structure.drawn:
        return (_DRAWN,)
    if structure.noise > _MOST_NOISE:
        return ()
    shading = _DARK_SHADING if structure.level < DARK else max(_SHADING, _SHADING_OF_NOISE * structure.noise)
    if (
        structure.contrast <= shading
        and structure.texture <= max(_EVEN_TEXTURE, _EVEN_TEXTURE_OF_NOISE * structure.noise)
        and structure.spots <= max(_EVEN_SPOTS, _EVEN_SPOTS_OF_NOISE * structure.noise)
    ):
        return (_EVEN,)
    if (
        structure.contrast > _MOST_SHADING * structure.level
        and structure.texture <= max(_TEXTURE, _TEXTURE_OF_NOISE * structure.noise)
        and structure.spots <= max(_SPOTS, _SPOTS_OF_NOISE * structure.noise)
    ):
        return (_BLURRED,)
    return ()
