"""The simulated world: its classes, the defects that each can have, and how one picture of a line comes about."""

from __future__ import annotations

import difflib
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from core.image import Rgb
from core.simline import faults, marks, round, solid, surfaces
from core.simline.board import Picture
from core.simline.camera import draw_camera
from core.simline.draw import Maker, Rng
from core.simline.marks import Place, blob
from core.simline.scene import Scene, paint
from core.simline.workpiece import workpiece

SIZE = 240
"""Height and width of a picture in pixels, unless asked for otherwise."""
VISIBLE = 8.0
"""Grey levels by which a defect must change a pixel to be in the mask."""
_LEAST = 14  # pixels of a mask at 240 x 240 below which a defect does not count as seen
_TRIES = 8

Defect: TypeAlias = Callable[[Rng, Scene, Place, float], Picture]
_DEFECTS: Mapping[str, Defect] = MappingProxyType(
    {
        "bent": faults.bent,
        "bubble": marks.bubble,
        "burr": faults.burr,
        "contamination": marks.contamination,
        "corrosion": marks.corrosion,
        "crack": marks.crack,
        "dent": marks.dent,
        "discoloration": marks.discoloration,
        "hole": marks.hole,
        "misplaced": faults.misplaced,
        "missing_piece": faults.missing_piece,
        "pit": marks.pit,
        "print_error": faults.print_error,
        "scratch": marks.scratch,
        "stain": marks.stain,
        "weave_break": faults.weave_break,
    }
)
_AT_EDGE = frozenset({"missing_piece", "burr", "bent"})
_AT_FEATURE = frozenset({"misplaced", "print_error"})

_METAL = ("scratch", "crack", "hole", "pit", "dent", "stain", "contamination", "corrosion", "discoloration")
_PLASTIC = ("scratch", "crack", "hole", "dent", "stain", "discoloration", "contamination", "bubble")
_CLOTH = ("hole", "stain", "discoloration", "contamination", "weave_break")
_CLASSES: Mapping[str, tuple[Maker, tuple[str, ...]]] = MappingProxyType(
    {
        "bearing": (round.bearing, (*_METAL, "missing_piece", "burr", "misplaced")),
        "bottle": (round.bottle, ("crack", "missing_piece", "contamination", "stain", "bubble", "scratch")),
        "bottle_cap": (round.bottle_cap, (*_PLASTIC, "missing_piece", "burr", "print_error")),
        "brushed_metal": (surfaces.brushed_metal, _METAL),
        "cable": (solid.cable, (*_PLASTIC, "bent")),
        "capsule": (solid.capsule, (*_PLASTIC, "missing_piece", "print_error")),
        "cardboard": (surfaces.cardboard, ("scratch", "hole", "dent", "stain", "discoloration", "contamination")),
        "cast_metal": (surfaces.cast_metal, (*_METAL, "bubble")),
        "connector": (solid.connector, (*_PLASTIC, "missing_piece", "burr", "misplaced", "corrosion")),
        "fabric": (surfaces.fabric, _CLOTH),
        "gear": (round.gear, (*_METAL, "missing_piece", "burr", "bent")),
        "glass": (surfaces.glass, ("scratch", "crack", "stain", "contamination", "bubble", "pit")),
        "ground_metal": (surfaces.ground_metal, _METAL),
        "label": (
            solid.label,
            ("scratch", "stain", "discoloration", "contamination", "print_error", "bubble", "missing_piece"),
        ),
        "leather": (surfaces.leather, (*_CLOTH[:-1], "scratch", "crack", "dent")),
        "mesh": (
            surfaces.mesh,
            ("bent", "weave_break", "contamination", "stain", "corrosion", "burr", "missing_piece"),
        ),
        "metal_plate": (surfaces.metal_plate, (*_METAL, "burr")),
        "painted_panel": (surfaces.painted_panel, (*_PLASTIC, "pit", "corrosion")),
        "pcb": (
            solid.pcb,
            ("scratch", "crack", "stain", "contamination", "corrosion", "misplaced", "missing_piece", "burr"),
        ),
        "pill": (
            solid.pill,
            ("crack", "pit", "scratch", "stain", "discoloration", "contamination", "missing_piece", "hole"),
        ),
        "plastic_housing": (solid.plastic_housing, (*_PLASTIC, "missing_piece", "burr", "bent", "misplaced")),
        "rubber_seal": (round.rubber_seal, (*_PLASTIC, "missing_piece", "burr", "bent")),
        "screw": (
            solid.screw,
            ("scratch", "dent", "corrosion", "contamination", "burr", "bent", "missing_piece", "stain"),
        ),
        "spring": (solid.spring, ("bent", "corrosion", "contamination", "missing_piece", "scratch", "burr", "stain")),
        "tile": (
            surfaces.tile,
            ("crack", "scratch", "hole", "pit", "stain", "discoloration", "contamination", "bubble"),
        ),
        "washer": (round.washer, (*_METAL, "missing_piece", "burr", "bent")),
        "wood": (
            surfaces.wood,
            ("scratch", "crack", "hole", "dent", "stain", "discoloration", "contamination", "pit"),
        ),
        "workpiece": (workpiece, (*_METAL, "missing_piece", "burr", "bent", "misplaced", "bubble")),
    }
)

CLASSES: tuple[str, ...] = tuple(_CLASSES)
"""Names of the classes, sorted; each has a prompt pack of the same name."""
DEFECTS: tuple[str, ...] = tuple(_DEFECTS)
"""Names of the defects, sorted."""


class UnknownName(ValueError):  # noqa: N818 - part of the public interface
    """A class or a defect that is not simulated; the message names those that are."""


@dataclass(frozen=True, eq=False)
class Sample:
    """One picture of a simulated line.

    Attributes:
        image: uint8 [size, size, 3], RGB.
        mask: uint8 [size, size]; 255 where a defect changed what the camera sees by more than `VISIBLE` grey levels.
        defects: Names of the defects that are seen, sorted; none for a good part.
    """

    image: Rgb
    mask: NDArray[np.uint8]
    defects: tuple[str, ...]


def defects_of(name: str) -> tuple[str, ...]:
    """The defects that parts of a class can have, sorted.

    Raises:
        UnknownName: there is no such class.
    """
    return tuple(sorted(_look_up(name)[1]))


def render(
    name: str, seed: int, index: int, defect_rate: float, defects: Sequence[str] | None = None, size: int = SIZE
) -> Sample:
    """Part `index` of the endless line of class `name` that `seed` starts.

    The same arguments give the same pixels in every process. A line has one design, one camera and one lamp, drawn
    from its seed; pose, texture and noise are the part's own. `defect_rate` 0 and 1 show one part without and with its
    defects: one in two thirds of the defective parts, else two or three, of any severity. A defect that shows nowhere
    on the part is left out; a part without any is a good one.

    Args:
        name: one of `CLASSES`.
        seed: non-negative; the line.
        index: non-negative; the place on the line.
        defect_rate: probability in [0, 1] that a part is defective.
        defects: those to draw from; by default all that the class can have.
        size: height and width of the picture in pixels, 64 or more.

    Raises:
        UnknownName: `name` is not a class, or it does not have one of `defects`.
        ValueError: another argument is outside its range.
    """
    maker, possible = _look_up(name)
    if wrong := set(defects or ()) - set(possible):
        raise UnknownName(f"a simulated {name} has no defect {min(wrong)!r}; it has {', '.join(sorted(possible))}")
    if seed < 0 or index < 0:
        raise ValueError(f"seed {seed} and index {index}: neither may be negative")
    if not 0.0 <= defect_rate <= 1.0:
        raise ValueError(f"defect_rate {defect_rate}: a probability lies in [0, 1]")
    if size < 64:
        raise ValueError(f"size {size}: a picture has 64 pixels or more")
    line = np.random.SeedSequence([zlib.crc32(name.encode()), seed])
    design, lens, parts = line.spawn(3)
    shape, sensor, fate = np.random.SeedSequence(line.entropy, spawn_key=(*parts.spawn_key, index)).spawn(3)
    part = np.random.default_rng(shape)
    scene = _dusted(maker(np.random.default_rng(design), part, size), part)
    camera = draw_camera(np.random.default_rng(lens), np.random.default_rng(sensor), size)
    good = camera.see(scene.picture)
    chance = np.random.default_rng(fate)
    if chance.random() >= defect_rate:
        return Sample(camera.expose(good), np.zeros((size, size), np.uint8), ())
    choice = sorted(defect for defect in defects or possible if scene.features or defect not in _AT_FEATURE)
    count = min(1 + max(0, int(chance.integers(0, 6)) - 3), len(choice))
    shown: list[str] = []
    mask = np.zeros((size, size), bool)
    for defect in chance.choice(choice, count, replace=False):
        least = _LEAST * (size / SIZE) ** 2
        for attempt in range(_TRIES):
            severity = float(min(1.0, chance.uniform(0.0, 1.0) + attempt / _TRIES))
            picture = _DEFECTS[defect](chance, scene, _spot(chance, scene, defect), severity)
            changed = np.abs(camera.see(picture) - good).max(axis=2) > VISIBLE
            if int((changed & ~mask).sum()) >= least:
                scene = Scene(scene.board, picture, scene.background, scene.surface, scene.features)
                mask |= changed
                shown.append(str(defect))
                break
    if not shown:  # nowhere on this part did any defect show: it is a good one
        return Sample(camera.expose(good), np.zeros((size, size), np.uint8), ())
    exposure = camera.see(scene.picture)
    mask = np.abs(exposure - good).max(axis=2) > VISIBLE
    return Sample(camera.expose(exposure), np.where(mask, np.uint8(255), np.uint8(0)), tuple(sorted(shown)))


def _look_up(name: str) -> tuple[Maker, tuple[str, ...]]:
    if name not in _CLASSES:
        close = difflib.get_close_matches(name, CLASSES, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise UnknownName(f"no simulated class {name!r}; known: {', '.join(CLASSES)}{hint}")
    return _CLASSES[name]


def _dusted(scene: Scene, part: Rng) -> Scene:
    """Dust within tolerance, on good parts and bad: specks too small or too faint to matter."""
    picture, size = scene.picture, scene.board.size
    for _ in range(int(part.integers(0, 5))):
        at = (float(part.uniform(0, size)), float(part.uniform(0, size)))
        speck = blob(part, size, at, (size / 240 * 0.9, size / 240 * 0.7), 0.0, 0.2)
        tone = float(part.choice([30.0, 230.0]))
        picture = paint(picture, speck * np.float32(part.uniform(0.2, 0.5)), (tone, tone, tone))
    return Scene(scene.board, picture, scene.background, scene.surface, scene.features)


def _spot(rng: Rng, scene: Scene, defect: str) -> Place:
    """A place for a defect: on the part's edge, at one of its components, or anywhere on it."""
    size = scene.board.size
    margin = size // 20
    if defect in _AT_FEATURE:
        col, row, _ = scene.features[int(rng.integers(len(scene.features)))]
        return col, row
    solid = scene.surface > 0.5
    solid[:margin] = solid[-margin:] = solid[:, :margin] = solid[:, -margin:] = False
    if defect in _AT_EDGE:
        edge = solid & ((scene.surface < 0.98) | _bordering(solid))
        edge[: margin + 1] = edge[-margin - 1 :] = edge[:, : margin + 1] = edge[:, -margin - 1 :] = False
        solid = edge if edge.any() else solid
    rows, cols = np.nonzero(solid)
    if not len(rows):
        return size / 2, size / 2
    pick = int(rng.integers(len(rows)))
    return float(cols[pick]), float(rows[pick])


def _bordering(solid: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Pixels of an area with a neighbour outside it."""
    inner = np.ones_like(solid)
    inner[1:-1, 1:-1] = solid[:-2, 1:-1] & solid[2:, 1:-1] & solid[1:-1, :-2] & solid[1:-1, 2:]
    return solid & ~inner
